//! Sans-IO ICE-lite agent.
