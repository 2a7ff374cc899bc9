//! Starts dynos as limited processes that register themselves, watches them, and stops them.
