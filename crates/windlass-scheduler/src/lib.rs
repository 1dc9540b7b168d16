//! Would the kube-scheduler put this pod on this node: its filters, and a snapshot with cheap fork, commit and revert.
