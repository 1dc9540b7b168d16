//! Launch templates, groups, IAM, SSM and images; user data; manifests.
