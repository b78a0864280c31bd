//! The shared-memory contract between the control plane and the dataplane.
