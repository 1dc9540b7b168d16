//! What to do about an error, where that is known.

use std::io;

use windlass_aws_client::{CallError, ConnectError as NoClient, ErrorClass};
use windlass_kube::{ApiError, ConnectError as NoApi};
use windlass_provision::iam::Actor;
use windlass_provision::provision::advice;

const CREDENTIALS: &str = "give the pod's service account a role (IRSA or pod identity), or set \
                           AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// What to do about an error, by the first of its causes for which that is known.
pub(crate) fn of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(of_cause)
}

/// A failed call of an actor's with what to do about it.
pub(crate) fn advised(error: CallError, actor: Actor) -> anyhow::Error {
    let hint = advice::advice(&error, actor);
    anyhow::Error::new(error).context(format!("AWS refused or did not answer; hint: {hint}"))
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<NoApi>() {
        return of_no_api(error);
    }
    if let Some(error) = cause.downcast_ref::<NoClient>() {
        return (*error == NoClient::NoCredentials).then(|| CREDENTIALS.to_owned());
    }
    if let Some(error) = cause.downcast_ref::<CallError>() {
        return of_call(error);
    }
    if let Some(error) = cause.downcast_ref::<ApiError>() {
        return of_api(error);
    }
    let error = cause.downcast_ref::<io::Error>()?;
    (error.kind() == io::ErrorKind::AddrInUse).then(|| {
        "end the process that listens there, or name another --address, such as :8086".to_owned()
    })
}

fn of_no_api(error: &NoApi) -> Option<String> {
    match error {
        NoApi::InCluster(_) => Some(
            "outside a pod name a kubeconfig with --kubeconfig; in a pod let the token of its \
             service account be mounted"
                .to_owned(),
        ),
        NoApi::Kubeconfig { path, .. } => Some(format!(
            "see what `kubectl --kubeconfig {path} get nodes` says"
        )),
        NoApi::Url { .. } | NoApi::Client(_) => None,
    }
}

/// What to do about a call to AWS that failed.
pub(crate) fn of_call(error: &CallError) -> Option<String> {
    match error.class() {
        ErrorClass::Credentials => Some(CREDENTIALS.to_owned()),
        ErrorClass::Denied => Some(format!(
            "let the policy of the role that makes the calls allow {}",
            error.action
        )),
        _ => None,
    }
}

/// What to do about a call to the API server that failed.
pub(crate) fn of_api(error: &ApiError) -> Option<String> {
    let hint = match error.code()? {
        401 => {
            "the token or certificate of the kubeconfig or service account is not accepted: renew it"
        }
        403 => "bind the autoscaler's ClusterRole and Role to the user that is named",
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_cause_decides_what_to_do() {
        let taken = Err::<(), _>(io::Error::from(io::ErrorKind::AddrInUse)).context("listen");
        assert!(of(&taken.unwrap_err()).is_some_and(|hint| hint.contains("--address")));
        let forbidden = ApiError::Status {
            code: 403,
            reason: String::new(),
            message: String::new(),
        };
        assert!(of(&forbidden.into()).is_some_and(|hint| hint.contains("ClusterRole")));
        assert!(of(&NoClient::NoCredentials.into()).is_some_and(|hint| hint.contains("IRSA")));
        assert_eq!(of(&anyhow::anyhow!("anything")), None);
    }
}
