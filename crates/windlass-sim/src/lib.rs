//! A cluster, a cloud and a clock on paper: scenario files, simulated controllers, and the decision code playing them.
