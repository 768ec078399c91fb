//! Labels, mlbuild.toml and SQL discovery, parsed to typed declarations with spans.
