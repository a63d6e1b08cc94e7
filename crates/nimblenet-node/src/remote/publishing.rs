//! Publishing: what is new goes to a registry, signed.

use alloc::collections::BTreeMap;
use core::time::Duration;

use nimblenet_core::Catalogue;
use nimblenet_core::publication::{BadPackages, Publication, Travel, new_dictionary};
use nimblenet_tasklet::api::{Problem, Resource, query};
use nimblenet_tasklet::{Delta, Digest, Name, NodeId, Package, TaskletName};
use tokio::time::sleep;

use super::{Remote, RemoteError, ask, read_catalogue, summary};
use crate::coap::{ClientError, Format};
use crate::key::{PublicKey, SigningKey};
use crate::store::EpochSummary;

/// How often a publication is made anew when others publish at the same time.
const ATTEMPTS: usize = 5;
/// The pause after which a registry that does not answer is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// How modules that are published travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// As they run.
    Plain,
    /// Compressed with the namespace's dictionary where that is shorter; a namespace without one gets
    /// one if it pays.
    Shortest,
}

/// What a publication has changed and uploaded, for one namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishReport {
    /// The namespace.
    pub namespace: Name,
    /// The epoch that it is at.
    pub epoch: u32,
    /// Entries that are new or changed.
    pub entries: usize,
    /// Packages that were published already as they are.
    pub unchanged: usize,
    /// Modules uploaded.
    pub modules: usize,
    /// Their bytes.
    pub module_bytes: usize,
    /// Bytes of the signed catalogue change.
    pub delta_bytes: usize,
    /// Whether this publication has claimed the namespace for its key.
    pub claimed: bool,
}

/// The epochs of a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    /// Those that the registry keeps, oldest first.
    pub epochs: Vec<EpochSummary>,
    /// The epoch that each node has announced in the last hour.
    pub nodes: Vec<(NodeId, u32)>,
}

impl Remote {
    /// The dictionary to compress modules of a publication with; none if they travel as they run.
    async fn dictionary(
        &mut self,
        catalogue: &Catalogue,
        packages: &[Package<'_>],
        form: Form,
    ) -> Result<Option<Vec<u8>>, RemoteError> {
        match (form, catalogue.dictionary()) {
            (Form::Plain, _) => Ok(None),
            (Form::Shortest, Some(held)) => self.module(&held.digest).await.map(Some),
            (Form::Shortest, None) => Ok(new_dictionary(catalogue, packages)),
        }
    }

    /// Has the publications of this client lead to the epoch `epoch` at least, although nodes may hold
    /// newer ones than the registry: the way back for a registry that has lost something. Where epochs
    /// are left out, every entry is published again (spec/catalogue.md, section 4).
    pub fn publish_at_least(&mut self, epoch: u32) {
        self.at_least = Some(epoch);
    }

    /// Gives a namespace the entries of its epoch `to` again, or that one which `only` names, in a new
    /// epoch signed by `key`; without `to`, those of the epoch before the present one. No module moves.
    ///
    /// # Errors
    /// [`RemoteError`]; with the code `unknown-epoch` if the registry does not keep that epoch.
    pub async fn roll_back(
        &mut self,
        namespace: &Name,
        only: Option<&Name>,
        to: Option<u32>,
        key: &SigningKey,
    ) -> Result<PublishReport, RemoteError> {
        let to = match to {
            Some(to) => to,
            None => {
                let kept = self.history(namespace).await?.epochs;
                let before = kept.iter().rev().nth(1).map(|kept| kept.epoch);
                before.ok_or(RemoteError::NothingBefore)?
            }
        };
        let before = self.past(namespace, to, Some(&key.public())).await?;
        let change =
            |catalogue: &Catalogue, _: Travel<'_>| Publication::restoring(catalogue, &before, only);
        self.commit(namespace, (&[], Form::Plain), key, change)
            .await
    }

    /// The epochs of a namespace that the registry keeps, and those that nodes have announced.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn history(&mut self, namespace: &Name) -> Result<History, RemoteError> {
        let request = ask(Resource::History, &[namespace.as_str()]);
        let payload = self.request(&request).await?.payload;
        summary::read_history(&payload).ok_or(RemoteError::Malformed)
    }

    /// A namespace's catalogue as it was at an epoch; with `key`, if that has signed it.
    ///
    /// # Errors
    /// [`RemoteError`]; with the code `unknown-epoch` if the registry does not keep that epoch.
    pub async fn past(
        &mut self,
        namespace: &Name,
        epoch: u32,
        key: Option<&PublicKey>,
    ) -> Result<Catalogue, RemoteError> {
        let request = ask(Resource::Past, &[namespace.as_str(), &epoch.to_string()]);
        let payload = self.request(&request).await?.payload;
        read_catalogue(namespace, &payload, key)
    }

    /// Publishes packages, signed by `key`: the packages of a namespace together, and a namespace
    /// after those that it calls. Their modules travel in `form`. Looks names of other namespaces up at this registry first, then
    /// at `others`.
    ///
    /// # Errors
    /// [`Stopped`] names the namespace, and lists what was published before.
    pub async fn publish(
        &mut self,
        packages: &[Package<'_>],
        form: Form,
        key: &SigningKey,
        others: &mut [Self],
    ) -> Result<Vec<PublishReport>, Stopped> {
        let mut waiting: BTreeMap<Name, Vec<Package<'_>>> = BTreeMap::new();
        for package in packages {
            let group = waiting.entry(package.name.namespace).or_default();
            group.push(*package);
        }
        let mut published = Vec::new();
        while !waiting.is_empty() {
            // Take a namespace that calls none of those that still wait; in a circle, take any.
            let calls_waiting = |group: &[Package<'_>]| {
                let mut imports = group.iter().flat_map(Package::imports);
                imports.any(|import| {
                    let callee = import.name.namespace;
                    callee != group[0].name.namespace && waiting.contains_key(&callee)
                })
            };
            let free = waiting.iter().find(|(_, group)| !calls_waiting(group));
            let next = free.or(waiting.first_key_value());
            let Some(name) = next.map(|(name, _)| *name) else {
                break;
            };
            let group = waiting.remove(&name).unwrap_or_default();
            match self
                .publish_namespace(&name, (&group, form), key, others)
                .await
            {
                Ok(report) => published.push(report),
                Err(error) => {
                    return Err(Stopped {
                        namespace: name,
                        published,
                        error,
                    });
                }
            }
        }
        Ok(published)
    }

    /// Withdraws tasklets of one namespace, signed by `key`: nobody can call them any more, and
    /// calls in progress end with the versions that they began with.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn withdraw(
        &mut self,
        namespace: &Name,
        names: &[Name],
        key: &SigningKey,
    ) -> Result<PublishReport, RemoteError> {
        let change =
            |catalogue: &Catalogue, _: Travel<'_>| Publication::withdrawing(catalogue, names);
        self.commit(namespace, (&[], Form::Plain), key, change)
            .await
    }

    async fn publish_namespace(
        &mut self,
        namespace: &Name,
        (packages, form): (&[Package<'_>], Form),
        key: &SigningKey,
        others: &mut [Self],
    ) -> Result<PublishReport, RemoteError> {
        let elsewhere = self.resolve(namespace, packages, others).await?;
        let change = |catalogue: &Catalogue, travel: Travel<'_>| {
            let find = |name: &TaskletName| elsewhere.get(name).copied();
            Publication::new(catalogue, packages, travel, find)
        };
        self.commit(namespace, (packages, form), key, change).await
    }

    /// Publishes the namespace's next epoch, which `change` makes, with the modules of `packages`.
    async fn commit(
        &mut self,
        namespace: &Name,
        (packages, form): (&[Package<'_>], Form),
        key: &SigningKey,
        change: impl Fn(&Catalogue, Travel<'_>) -> Result<Publication, BadPackages>,
    ) -> Result<PublishReport, RemoteError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            // The signature is over the whole catalogue. To build on a catalogue that somebody
            // else has signed would sign its content with this key.
            let catalogue = self.signed_catalogue(namespace, &key.public()).await?;
            let dictionary = self.dictionary(&catalogue, packages, form).await?;
            let travel = dictionary.as_deref();
            let travel = travel.map_or(Travel::Plain, Travel::Compressed);
            let publication = change(&catalogue, travel).map_err(RemoteError::Packages)?;
            let mut report = PublishReport {
                namespace: *namespace,
                epoch: catalogue.epoch(),
                entries: publication.changed(),
                unchanged: publication.unchanged(),
                modules: 0,
                module_bytes: 0,
                delta_bytes: 0,
                claimed: catalogue.epoch() == 0,
            };
            let changes = publication.changed() > 0 || self.at_least.is_some();
            if !changes {
                // A node has the catalogue too, but nothing can be published there.
                let held = self.namespaces().await?;
                if let Some(held) = held.iter().find(|it| it.name == *namespace) {
                    let nodes = held.nodes.as_ref().ok_or(RemoteError::NotARegistry)?;
                    let here = catalogue.epoch();
                    let newest = nodes.iter().max_by_key(|(_, held)| *held);
                    if let Some(&(node, held)) = newest.filter(|(_, held)| *held > here) {
                        return Err(RemoteError::Behind { node, held, here });
                    }
                }
                report.claimed = false;
                return Ok(report);
            }
            let publication = match self.at_least.filter(|least| *least > catalogue.epoch() + 1) {
                None => publication,
                Some(least) => publication
                    .at_epoch(&catalogue, least)
                    .map_err(RemoteError::Packages)?,
            };
            if publication.changed() == 0 {
                report.claimed = false;
                return Ok(report);
            }
            report.entries = publication.changed();
            report.epoch = publication.epoch_after(&catalogue);
            self.upload(&catalogue, &publication, &mut report).await?;
            let delta = publication.sign(&catalogue, |bytes| key.sign(bytes));
            let delta = delta.map_err(RemoteError::Catalogue)?;
            report.delta_bytes = delta.len();
            match self.put(namespace, key, delta).await {
                Ok(()) => return Ok(report),
                // Somebody else has published; or the registry has restarted, and has forgotten what
                // was uploaded.
                Err(error)
                    if attempt < ATTEMPTS
                        && [Problem::StaleEpoch, Problem::MissingModule]
                            .map(Problem::code)
                            .contains(&error.code()) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the registry a signed delta. If the answer is lost, it gives the same delta again as long
    /// as there is time: a registry that has it says so and changes nothing.
    async fn put(
        &mut self,
        namespace: &Name,
        key: &SigningKey,
        delta: Vec<u8>,
    ) -> Result<(), RemoteError> {
        let mut request = ask(Resource::Publish, &[namespace.as_str()]);
        request.query = vec![format!("{}={}", query::KEY, key.public())];
        let anyway = self.at_least.map(|_| query::ANYWAY.to_owned());
        request.query.extend(anyway);
        request.format = Some(Format::CBOR);
        request.payload = delta;
        let mut lost = None;
        loop {
            let Err(error) = self.request(&request).await else {
                return Ok(());
            };
            let is_lost = matches!(&error, RemoteError::Client(error) if error.is_lost());
            let is_down = matches!(&error, RemoteError::Client(ClientError::Refused));
            if !(is_lost || is_down && lost.is_some()) {
                // Of a request before, the answer may be lost, and somebody else have published since.
                let is_stale = error.code() == Problem::StaleEpoch.code();
                if lost.is_some() && is_stale && self.has(namespace, &request.payload).await {
                    return Ok(());
                }
                return Err(error);
            }
            if let RemoteError::Client(error) = error {
                lost.get_or_insert(error);
            }
            if self.client.is_over(AGAIN) {
                return Err(lost.map_or(RemoteError::Malformed, RemoteError::Unknown));
            }
            sleep(AGAIN).await;
        }
    }

    /// Whether the registry has this delta: whether the epoch that it leads to has its signature.
    async fn has(&mut self, namespace: &Name, delta: &[u8]) -> bool {
        let Ok(delta) = Delta::decode(delta) else {
            return false;
        };
        let held = self.past(namespace, delta.to, None).await;
        held.is_ok_and(|held| *held.signature() == delta.signature)
    }

    /// Uploads the modules that the catalogue does not name yet.
    async fn upload(
        &mut self,
        catalogue: &Catalogue,
        publication: &Publication,
        report: &mut PublishReport,
    ) -> Result<(), RemoteError> {
        let mut known: Vec<Digest> = catalogue.entries().map(|entry| entry.digest).collect();
        for module in publication.modules() {
            let digest = Digest::of(module);
            if known.contains(&digest) {
                continue;
            }
            let mut request = ask(Resource::Stage, &[&digest.to_string()]);
            request.format = Some(Format::BYTES);
            request.payload = module.clone();
            self.request(&request).await?;
            report.modules += 1;
            report.module_bytes += module.len();
            known.push(digest);
        }
        Ok(())
    }

    /// Entry numbers of the tasklets of other namespaces that packages call.
    async fn resolve(
        &mut self,
        namespace: &Name,
        packages: &[Package<'_>],
        others: &mut [Self],
    ) -> Result<BTreeMap<TaskletName, u16>, RemoteError> {
        let imports = packages.iter().flat_map(Package::imports);
        let mut callees: Vec<_> = imports.map(|import| import.name).collect();
        callees.retain(|callee| callee.namespace != *namespace);
        let mut namespaces: Vec<_> = callees.iter().map(|callee| callee.namespace).collect();
        namespaces.sort();
        namespaces.dedup();
        let mut numbers = BTreeMap::new();
        for namespace in namespaces {
            let mut found = vec![self.catalogue(&namespace).await?];
            for other in &mut *others {
                found.push(other.catalogue(&namespace).await?);
            }
            let number = |name: &Name| found.iter().find_map(|held| Some(held.find(name)?.number));
            for callee in callees
                .iter()
                .filter(|callee| callee.namespace == namespace)
            {
                numbers.extend(number(&callee.name).map(|number| (*callee, number)));
            }
        }
        Ok(numbers)
    }
}

/// Why a publication of several namespaces stopped. Each namespace is published whole or not at
/// all.
#[derive(Debug)]
pub struct Stopped {
    /// The namespace at which it stopped.
    pub namespace: Name,
    /// What was published before.
    pub published: Vec<PublishReport>,
    /// Why it stopped.
    pub error: RemoteError,
}
