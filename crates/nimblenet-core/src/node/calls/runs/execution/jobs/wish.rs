//! Calls that tasklets make of other tasklets, before the node has checked them.

use nimblenet_tasklet::{Entry, Fault, NamespaceId, Signature};

use super::Jobs;
use crate::job::ExportName;
use crate::node::post::Post;
use crate::places::JobAt;

/// A tasklet that the top activation calls.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Wish {
    pub(in crate::node) namespace: NamespaceId,
    pub(in crate::node) number: u16,
    pub(in crate::node) export: ExportName,
    signature: Signature,
    /// The fuel that the caller has.
    pub(super) budget: u64,
}

impl Wish {
    /// Checks that `entry` is what the caller was compiled against; returns the fuel that the
    /// callee gets.
    ///
    /// # Errors
    /// [`Fault`] if it is not.
    pub(in crate::node) fn admit(&self, entry: &Entry<'_>) -> Result<u64, Fault> {
        let offered = entry.terms.signature(self.export.as_str());
        if offered.ok_or(Fault::UnknownExport)? != self.signature {
            return Err(Fault::WrongSignature);
        }
        Ok(entry.fuel_ceiling().min(self.budget))
    }
}

impl Jobs {
    /// Takes the call that the top activation makes by its import `import` with `args`. Ends the
    /// reservation of the module of the callee before.
    ///
    /// # Errors
    /// [`Fault`] if the call is not allowed.
    pub(in crate::node) fn wish(
        &mut self,
        post: &mut Post<'_>,
        at: JobAt,
        import: u16,
        args: &[u8],
    ) -> Result<Wish, Fault> {
        let job = self.job_mut(at);
        job.calls_left = job.calls_left.checked_sub(1).ok_or(Fault::TooManyCalls)?;
        if !job.set_message(args) {
            return Err(Fault::ValuesTooLarge);
        }
        let top = job.top_mut().ok_or(Fault::Stopped)?;
        let (released, budget) = (top.callee_slot.take(), top.fuel);
        let wish = top.entry().import(import).map(|import| {
            let export = ExportName::new(import.export).ok_or(Fault::UnknownExport)?;
            Ok(Wish {
                namespace: import.namespace,
                number: import.number,
                export,
                signature: import.signature,
                budget,
            })
        });
        if let Some(slot) = released {
            post.cache.release(slot);
        }
        wish.unwrap_or(Err(Fault::UnknownImport))
    }
}
