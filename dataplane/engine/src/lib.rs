//! Sans-IO forwarding engine.
