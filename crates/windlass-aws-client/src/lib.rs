//! Signed AWS calls with retries, endpoints and a call budget: one client for all that is above it.
//!
//! The generated SDKs cost more to build than all the rest of Windlass together (EC2's alone is
//! 1.2 million lines), for some thirty calls. So this crate stands on their lower half alone:
//! credentials, region and profile come from `aws-config`, signatures from `aws-sigv4`, and each
//! call is some sixty lines of types in the file of its service.
//!
//! It knows AWS's wire formats and nothing of node groups, clusters or policy. Every call
//! - has a timeout for each attempt and one for the whole,
//! - draws on one budget of calls per minute that all callers share ([`budget`]),
//! - is retried with backoff and jitter where a repetition cannot do harm ([`retry`]),
//! - is reported to an [`Observer`], and
//! - fails with a [`CallError`] that names the action and the resource and says of what kind it is.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use windlass_aws_client::{Client, Options};
//!
//! let client = Client::connect(Options::default()).await?;
//! for group in client.autoscaling().describe_groups_by_name(&["workers".to_owned()]).await? {
//!     println!("{} wants {}", group.name, group.desired_capacity);
//! }
//! # Ok(())
//! # }
//! ```

pub mod autoscaling;
pub mod budget;
mod call;
mod config;
mod credentials;
pub mod ec2;
pub mod eks;
mod endpoint;
mod error;
pub mod iam;
mod json;
pub mod kms;
pub mod metadata;
pub mod pricing;
mod query;
pub mod retry;
mod secret;
pub mod ssm;
pub mod sts;
pub mod tagging;

pub use aws_smithy_runtime_api::client::http::SharedHttpConnector;
pub use call::{Attempt, Client, Observer, Operation};
pub use config::{ConnectError, Options, StaticCredentials};
pub use endpoint::{EndpointOverride, Service};
pub use error::{CallError, CallErrorKind, ErrorClass};
pub use secret::Secret;
