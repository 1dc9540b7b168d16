//! Signed AWS calls with retries, endpoints and a call budget: one client for all that is above it.
