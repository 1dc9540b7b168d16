//! Every flag as a value: what may be configured, its type, default and meaning, and how it is parsed.
