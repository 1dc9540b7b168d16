//! What one loop does, and why: decide and check.
