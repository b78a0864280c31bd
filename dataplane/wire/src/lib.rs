//! Zero-copy views of the packets Ion forwards.
