pub(crate) fn run(_root: &std::path::Path) -> crate::Result {
    Ok(())
}
