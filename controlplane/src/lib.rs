//! ICE, DTLS, SDP, rooms, and the HTTP API.
