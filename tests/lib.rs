//! Empty: this package holds tests only (main.rs).
