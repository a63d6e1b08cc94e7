//!
#![no_std]
