//! The resolved target graph and selections over it.
