//! Machine images: one script that makes a node's image out of Debian or Ubuntu, and the checks
//! that say whether one is right.
//!
//! A [`Recipe`] is `spec.ami` with everything that follows from it. The script ([`Recipe::script`]),
//! the checks ([`Recipe::checks`]), the builder's user data ([`user_data`]) and the Packer template
//! ([`packer`]) are made of the same recipe and of the same files (module `content`), so that what is
//! installed and what is looked for cannot part. [`build`] drives EC2, [`publish`] says who gets the
//! image, and [`clean_up`] leaves nothing else.

pub mod build;
pub mod check;
pub mod clean_up;
mod content;
pub mod images;
pub mod leftovers;
pub mod packer;
pub mod publish;
mod recipe;
pub mod report;
mod script;
pub mod user_data;

pub use check::{Check, Property, Scope};
pub use recipe::{Recipe, RecipeError, sha256};
