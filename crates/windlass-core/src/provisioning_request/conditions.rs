//! The words of a request's conditions; all are upstream's. Source:
//! `pkg/provisioningrequest/conditions/conditions.go`.

/// The request is being looked at.
pub(super) const ACCEPTED: &str = "Accepted";
/// There is room for its pods, or there is none for now.
pub(super) const PROVISIONED: &str = "Provisioned";
/// Its room is no longer kept.
pub(super) const BOOKING_EXPIRED: &str = "BookingExpired";
/// It will not be tried again.
pub(super) const FAILED: &str = "Failed";

/// A reason with its message.
pub(super) type Because = (&'static str, &'static str);

pub(super) const IS_ACCEPTED: Because = (
    "Accepted",
    "ProvisioningRequest is accepted by ClusterAutoscaler",
);
pub(super) const CAPACITY_IS_FOUND: Because =
    ("CapacityIsFound", "Capacity is found in the cluster");
/// The message is that of [`CAPACITY_IS_FOUND`] upstream, too.
pub(super) const CAPACITY_IS_PROVISIONED: Because =
    ("CapacityIsProvisioned", "Capacity is found in the cluster");
pub(super) const CAPACITY_IS_NOT_FOUND: Because = (
    "CapacityIsNotFound",
    "Capacity is not found, CA will try to find it later.",
);
pub(super) const CAPACITY_IS_NOT_FOUND_AT_ALL: Because =
    ("CapacityIsNotFound", "CA could not find requested capacity");
pub(super) const RESERVATION_TIME_EXPIRED: Because = (
    "CapacityReservationTimeExpired",
    "Capacity reservation time is expired",
);
pub(super) const BOOKING_CONSUMED: Because = (
    "CapacityBookingConsumed",
    "Capacity booking consumed: all pods scheduled",
);
pub(super) const EXPIRED: Because = ("Expired", "ProvisioningRequest is expired");
/// Its message is the error.
pub(super) const FAILED_TO_CREATE_PODS: &str = "FailedToCreatePods";
/// Its message is the error.
pub(super) const FAILED_TO_BOOK_CAPACITY: &str = "FailedToBookCapacity";
