//! Sans-IO DTLS 1.3 and 1.2 over BoringSSL.
