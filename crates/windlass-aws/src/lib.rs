//! Auto Scaling groups as node groups; instance types and prices.
