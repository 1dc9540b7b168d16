//! The provider against moto, a fake AWS that speaks the real wire formats.

mod groups;
mod iam;
mod server;
mod templates;
