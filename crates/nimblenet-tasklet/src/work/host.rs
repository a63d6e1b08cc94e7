//! What the device itself offers to tasklets.

use crate::{Capabilities, Capability, Fault, TaskletName};

/// What the device itself offers to tasklets: the functions behind capabilities, and native
/// tasklets.
pub trait Host {
    /// Capabilities that [`call`](Self::call) serves.
    fn offers(&self) -> Capabilities;

    /// Serves an import `nimblenet:<capability>` with the name `function` for `tasklet`. Values
    /// are the bits of WebAssembly values; addresses among them refer to `memory`. Returns the
    /// single result. What a tasklet keeps on the device is its own: another tasklet, of whatever
    /// namespace, neither sees nor changes it.
    ///
    /// # Errors
    /// [`Fault::UnknownImport`] for a function that does not exist, [`Fault::DeviceFailed`] for one
    /// that cannot be served, [`Fault::WrongArguments`] for arguments that the function does not
    /// allow.
    fn call(
        &mut self,
        tasklet: &TaskletName,
        capability: Capability,
        function: &str,
        args: &[u64],
        memory: &mut [u8],
    ) -> Result<u64, Fault>;

    /// The capabilities of the device that the native tasklet `name` uses; none if the device has no
    /// such function. Only an entry that lists them may [run](Self::native) it.
    fn needs(&self, name: &TaskletName) -> Option<Capabilities>;

    /// Runs the native tasklet `name`: reads the CBOR array `args`, writes the CBOR array of its
    /// results and returns its length.
    ///
    /// # Errors
    /// [`Fault::NoExecutor`] if the device has no such function; otherwise as [`call`](Self::call).
    fn native(
        &mut self,
        name: &TaskletName,
        export: &str,
        args: &[u8],
        result: &mut [u8],
    ) -> Result<usize, Fault>;
}
