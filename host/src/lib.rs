//! The fluxbay host.
