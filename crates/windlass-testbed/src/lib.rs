//! The real parts for end-to-end tests: starts etcd, the control plane, kwok, moto and the joiner, and ends exactly what it started.
