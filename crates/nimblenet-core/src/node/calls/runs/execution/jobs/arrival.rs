//! Jobs that arrive from another node, or come home.

use nimblenet_tasklet::{Fault, abi};

use super::Jobs;
use crate::full::Full;
use crate::job::{Callee, ExportName, State, Station};
use crate::places::JobAt;
use crate::wire::job::{JobHead, MovedActivation};

/// The CBOR array of no results.
const NO_RESULTS: &[u8] = &[0x80];

impl Jobs {
    /// Takes what the record of an arriving job says besides its activations.
    ///
    /// # Errors
    /// [`Fault`] if this node does not allow what it says.
    pub(in crate::node) fn take_head(
        &mut self,
        at: JobAt,
        head: &JobHead<'_>,
    ) -> Result<(), Fault> {
        let calls = self.calls;
        let job = self.job_mut(at);
        job.name = head.name;
        job.export = ExportName::new(head.export).ok_or(Fault::UnknownExport)?;
        job.trap = head.trap;
        job.priority = head.priority;
        job.calls_left = head.calls_left.min(calls);
        if job.set_message(head.message) {
            Ok(())
        } else {
            Err(Fault::ValuesTooLarge)
        }
    }

    /// Puts an activation of an arriving job on top.
    ///
    /// # Errors
    /// [`Fault`] if the activation does not fit the tasklet in this node's catalogues.
    pub(in crate::node) fn take_activation(
        &mut self,
        at: JobAt,
        callee: &Callee<'_>,
        moved: &MovedActivation<'_>,
    ) -> Result<(), Fault> {
        let entry = &callee.entry;
        let export = ExportName::new(moved.export).ok_or(Fault::UnknownExport)?;
        self.push(at, callee, export, moved.fuel.min(entry.fuel_ceiling()))?;
        if entry.sequence != moved.tasklet.sequence {
            return Err(Fault::UnknownTasklet);
        }
        let signature = entry.terms.signature(moved.export);
        let signature = signature.ok_or(Fault::UnknownExport)?;
        let frozen = !moved.image.is_empty();
        if frozen && !entry.has_module() {
            return Err(Fault::BadImage);
        }
        let job = self.job_mut(at);
        if !frozen {
            abi::check_args(&signature, &job.message).map_err(|_| Fault::WrongArguments)?;
        }
        if let Some(top) = job.top_mut() {
            top.station = if frozen {
                Station::Record
            } else {
                Station::Nowhere
            };
        }
        Ok(())
    }

    /// Gives the job at `at`, which has come home, the place of its call at `waits`. The job that
    /// is left at `waits` tells the node from which the job came that the job has ended, so that a
    /// job may come and go without leaving a trail.
    pub(in crate::node) fn rejoin(&mut self, at: JobAt, waits: JobAt) {
        let [here, there] = self
            .table
            .get_disjoint_mut([at.index(), waits.index()])
            .expect("a job that arrives is not one that waits");
        core::mem::swap(&mut here.call, &mut there.call);
        core::mem::swap(&mut here.caller, &mut there.caller);
        core::mem::swap(&mut here.accepted, &mut there.accepted);
        core::mem::swap(&mut here.deadline, &mut there.deadline);
        core::mem::swap(&mut here.steps, &mut there.steps);
        here.ran = Full::of(true);
        for step in &there.steps {
            here.note(*step);
        }
        there.set_message(NO_RESULTS);
        there.state = State::Answered(Ok(()));
    }
}
