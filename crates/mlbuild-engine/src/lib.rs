//! Plans, schedules, executes and commits actions.
