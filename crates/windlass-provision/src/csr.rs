//! Who may become a node: certificate requests, and the rules by which they are approved.
//!
//! A bootstrap token lets its bearer ask for a certificate of *any* node's name, and the
//! controller manager approves it. [`judge`] approves only what an instance of one of the
//! cluster's groups may ask for. Pure: the caller says what the cluster and AWS look like.

mod judge;
mod request;

pub use judge::{Evidence, InstanceFacts, NodeFacts, Rules, Verdict, judge, node_of};
pub use request::{CertificateRequest, CsrProblem, Requester, SignerName};
