//! Converts functions of Rust types from and to functions of WebAssembly values.

/// Exports functions under their names; callers that name no function call `run`.
///
/// Parameters are numbers, `bool`, `&[T]`, `&str`, and last `&mut [T]` for a list result; the
/// result is a number, `bool` or nothing.
///
/// ```
/// nimblenet_sdk::export! {
///     /// Every sample times `factor`.
///     fn run(samples: &[f32], factor: f32, scaled: &mut [f32]) -> usize {
///         for (to, from) in scaled.iter_mut().zip(samples) {
///             *to = from * factor;
///         }
///         samples.len().min(scaled.len())
///     }
/// }
/// # fn main() {
/// let mut scaled = [0.0; 4];
/// assert_eq!(run(&[1.0, 2.0], 3.0, &mut scaled), 2);
/// assert_eq!(scaled, [3.0, 6.0, 0.0, 0.0]);
/// # }
/// ```
#[macro_export]
macro_rules! export {
    ($(
        $(#[$meta:meta])*
        fn $name:ident($($params:tt)*) $(-> $result:ty)? $body:block
    )*) => {$(
        #[cfg(not(target_arch = "wasm32"))]
        $(#[$meta])*
        pub fn $name($($params)*) $(-> $result)? $body

        #[cfg(target_arch = "wasm32")]
        $crate::__flatten! { export [$name $body [$($result)?]] [] [] $($params)*, }
    )*};
}

/// Makes functions of other tasklets callable.
///
/// Each is written as the tasklet's full name, the name of its export unless that is `run`, and
/// the function. The call suspends this tasklet until the other has ended, here or on another
/// node; if it fails, this tasklet fails too.
///
/// ```no_run
/// nimblenet_sdk::import! {
///     "std/rms" fn rms(samples: &[f32]) -> f32;
///     "shop/arm" "move-to" fn move_to(x: f32, y: f32) -> bool;
/// }
/// # fn main() { let _ = move_to(rms(&[1.0]), 0.0); }
/// ```
#[macro_export]
macro_rules! import {
    ($(
        $(#[$meta:meta])*
        $module:literal $($field:literal)? fn $name:ident($($params:tt)*) $(-> $result:ty)?;
    )*) => {$(
        $(#[$meta])*
        #[allow(dead_code, unused_variables)]
        pub(crate) fn $name($($params)*) $(-> $result)? {
            #[cfg(not(target_arch = "wasm32"))]
            { panic!(concat!($module, " can only be called on a node")) }

            #[cfg(target_arch = "wasm32")]
            $crate::__flatten! {
                import [$module [$($field)? "run"] [$($result)?]] [] [] $($params)*,
            }
        }
    )*};
}

/// Reads the parameters of a function one by one; collects the WebAssembly parameters and, for
/// each, its conversion from or to the Rust parameter. `len` is another name in each round, because
/// each expansion has names of its own.
#[doc(hidden)]
#[macro_export]
macro_rules! __flatten {
    // A trailing comma in the source leaves an empty parameter.
    ($way:ident $what:tt [$($flat:tt)*] [$($made:tt)*] , $($rest:tt)*) => {
        $crate::__flatten! { $way $what [$($flat)*] [$($made)*] $($rest)* }
    };
    ($way:ident $what:tt [$($flat:tt)*] [$($made:tt)*] $p:ident: &mut [$t:ty], $($rest:tt)*) => {
        $crate::__flatten! {
            $way $what
            [$($flat)* $p: *mut $t, len: usize,]
            [$($made)* ($p unsafe { $crate::slice_mut($p, len) }; $p.as_mut_ptr(), $p.len())]
            $($rest)*
        }
    };
    ($way:ident $what:tt [$($flat:tt)*] [$($made:tt)*] $p:ident: &[$t:ty], $($rest:tt)*) => {
        $crate::__flatten! {
            $way $what
            [$($flat)* $p: *const $t, len: usize,]
            [$($made)* ($p unsafe { $crate::slice($p, len) }; $p.as_ptr(), $p.len())]
            $($rest)*
        }
    };
    ($way:ident $what:tt [$($flat:tt)*] [$($made:tt)*] $p:ident: &str, $($rest:tt)*) => {
        $crate::__flatten! {
            $way $what
            [$($flat)* $p: *const u8, len: usize,]
            [$($made)* ($p unsafe { $crate::text($p, len) }; $p.as_ptr(), $p.len())]
            $($rest)*
        }
    };
    ($way:ident $what:tt [$($flat:tt)*] [$($made:tt)*] $p:ident: $t:ty, $($rest:tt)*) => {
        $crate::__flatten! {
            $way $what
            [$($flat)* $p: $t,]
            [$($made)* ($p $p; $p)]
            $($rest)*
        }
    };
    (
        export [$name:ident $body:block [$($result:ty)?]]
        [$($flat:tt)*] [$(($p:ident $from:expr; $($to:expr),*))*]
    ) => {
        #[unsafe(no_mangle)]
        extern "C" fn $name($($flat)*) $(-> $result)? {
            // SAFETY: the host passes addresses of lists that lie within the memory, do not
            // overlap and stay until the function returns.
            $(let $p = $from;)*
            $body
        }
    };
    (
        import [$module:literal [$field:literal $($default:literal)?] [$($result:ty)?]]
        [$($flat:tt)*] [$(($p:ident $from:expr; $($to:expr),*))*]
    ) => {{
        #[link(wasm_import_module = $module)]
        unsafe extern "C" {
            #[link_name = $field]
            fn call($($flat)*) $(-> $result)?;
        }
        // SAFETY: the host reads and writes within the slices only, before it returns.
        unsafe { call($($($to),*),*) }
    }};
}

/// A list argument.
///
/// # Safety
/// `address` is the start of `len` elements that nothing writes while the slice lives.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[inline(always)]
pub unsafe fn slice<'a, T>(address: *const T, len: usize) -> &'a [T] {
    // SAFETY: promised by the caller; the packer never places lists at address 0.
    unsafe { core::slice::from_raw_parts(address, len) }
}

/// The space for a list result.
///
/// # Safety
/// `address` is the start of `len` elements that nothing else refers to while the slice lives.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[inline(always)]
pub unsafe fn slice_mut<'a, T>(address: *mut T, len: usize) -> &'a mut [T] {
    // SAFETY: promised by the caller; the packer never places lists at address 0.
    unsafe { core::slice::from_raw_parts_mut(address, len) }
}

/// A text argument.
///
/// # Safety
/// As for [`slice`]; also, the bytes are UTF-8; the host passes nothing else as a string.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[inline(always)]
pub unsafe fn text<'a>(address: *const u8, len: usize) -> &'a str {
    // SAFETY: promised by the caller.
    unsafe { core::str::from_utf8_unchecked(slice(address, len)) }
}
