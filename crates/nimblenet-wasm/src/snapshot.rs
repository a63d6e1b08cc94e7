//! Freezing and thawing.
