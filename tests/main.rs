//! Black-box tests of the whole path: one binary, so that its services are started once.
