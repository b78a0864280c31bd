//! SRTP and SRTCP transforms over aws-lc-rs.
