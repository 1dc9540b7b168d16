//! Kubernetes objects, as JSON or YAML or from the API, to the model.
