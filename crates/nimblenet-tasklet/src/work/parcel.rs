//! Work on its way from a node to an executor that reads it later.

use core::convert::Infallible;
use core::ops::Range;

use crate::{Digest, Entry, Fault, Outcome, Work};

use super::order::{Begin, Order};

/// The storage in which a [`Parcel`] keeps copies of bytes, one after the other.
pub trait Storage {
    /// Forgets all bytes.
    fn clear(&mut self);

    /// Adds `bytes` at the end and returns where they are; nothing if there is no room for them.
    fn put(&mut self, bytes: &[u8]) -> Option<Range<usize>>;

    /// All bytes.
    fn bytes(&self) -> &[u8];
}

/// A storage of at most `N` bytes that allocates nothing. All bytes of a new one are zero.
#[derive(Debug)]
pub struct Fixed<const N: usize> {
    bytes: [u8; N],
    used: usize,
}

impl<const N: usize> Fixed<N> {
    /// An empty storage.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            used: 0,
        }
    }
}

impl<const N: usize> Default for Fixed<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Storage for Fixed<N> {
    fn clear(&mut self) {
        self.used = 0;
    }

    fn put(&mut self, bytes: &[u8]) -> Option<Range<usize>> {
        let place = self.used..self.used + bytes.len();
        self.bytes.get_mut(place.clone())?.copy_from_slice(bytes);
        self.used = place.end;
        Some(place)
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

/// A storage that grows as far as its collection does, such as `Growing<Vec<u8>>`.
#[derive(Default, Debug)]
pub struct Growing<C>(C);

impl<C: Default + AsRef<[u8]> + for<'a> Extend<&'a u8>> Storage for Growing<C> {
    fn clear(&mut self) {
        self.0 = C::default();
    }

    fn put(&mut self, bytes: &[u8]) -> Option<Range<usize>> {
        let at = self.bytes().len();
        self.0.extend(bytes);
        Some(at..self.bytes().len())
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }
}

/// A piece of work that outlives the call in which a node gave it. Entry, export, arguments,
/// results and messages are copied into one storage `R`; modules and images, which are large, are
/// passed by a handle `H` that the driver makes.
#[derive(Debug)]
pub struct Parcel<R, H> {
    content: Content<H>,
    storage: R,
}

/// The position of bytes in a parcel's storage.
type Place = Range<usize>;

/// All bytes of [`Nothing`](Self::Nothing) are zero, so that a new parcel in a static takes no
/// flash.
#[derive(Debug)]
#[repr(u8)]
enum Content<H> {
    Nothing,
    Order(Order<Begin<Place, H, Place, Place>, Place, H>),
    /// Work that did not fit, as its answer.
    Refused(Option<Outcome<'static>>),
}

/// The storage has no room.
struct Full;

impl<R, H> Parcel<R, H> {
    /// An empty parcel with this storage.
    pub const fn new(storage: R) -> Self {
        Self {
            content: Content::Nothing,
            storage,
        }
    }
}

impl<R: Storage, H: AsRef<[u8]>> Parcel<R, H> {
    /// Replaces its content by `work`. `lend` makes the handle of a module or of an image. For a
    /// module it gets the digest that the entry names; nobody has checked whether the module has
    /// that digest.
    ///
    /// Work that does not fit is refused with [`Fault::ValuesTooLarge`] when the parcel is opened.
    /// A run that waits for results which do not fit resumes with that fault instead.
    pub fn pack(&mut self, work: Work<'_>, lend: impl FnMut(&[u8], Option<Digest>) -> H) {
        self.storage.clear();
        let mut work = work;
        if let Work::Thaw { start, .. } = &mut work {
            // The executor ignores the arguments of a thaw.
            start.args = &[];
        }
        let mut context = (&mut self.storage, lend);
        let packed = work.try_map(
            &mut context,
            |(storage, lend), start| {
                let mut put = |bytes: &[u8]| storage.put(bytes).ok_or(Full);
                let entry = put(start.entry.encoded())?;
                let export = put(start.export.as_bytes())?;
                let args = put(start.args)?;
                let code = lend(start.code, Some(start.entry.digest));
                Ok(start.with(entry, code, export, args))
            },
            |(storage, _), bytes| storage.put(bytes).ok_or(Full),
            |(_, lend), image| Ok(lend(image, None)),
        );
        self.content = match (packed, work) {
            (Ok(order), _) => Content::Order(order),
            (
                Err(Full),
                Work::Resume {
                    activation, fuel, ..
                },
            ) => Content::Order(Order::Resume {
                activation,
                result: Err(Fault::ValuesTooLarge),
                fuel,
            }),
            (Err(Full), work) => Content::Refused(work.refused(Fault::ValuesTooLarge)),
        };
    }

    /// The work, equal to what was packed, except that a thaw has no arguments.
    ///
    /// # Errors
    /// The answer to work that did not fit. An empty parcel has none.
    pub fn open(&self) -> Result<Work<'_>, Option<Outcome<'static>>> {
        let order = match &self.content {
            Content::Nothing => return Err(None),
            Content::Refused(outcome) => return Err(*outcome),
            Content::Order(order) => order,
        };
        let stored = |place: &Place| &self.storage.bytes()[place.clone()];
        let Ok(work) = order.try_map(
            &mut (),
            |(), begin| {
                let entry = Entry::reread(stored(&begin.entry));
                let export = core::str::from_utf8(stored(&begin.export));
                Ok::<_, Infallible>(begin.with(
                    entry.expect("it was read before it was copied"),
                    begin.code.as_ref(),
                    export.expect("it was text"),
                    stored(&begin.args),
                ))
            },
            |(), place| Ok(stored(place)),
            |(), image| Ok(image.as_ref()),
        );
        Ok(work)
    }

    /// The handle of the module, if a run begins.
    pub fn module(&self) -> Option<&H> {
        match &self.content {
            Content::Order(order) => order.begin().map(|begin| &begin.code),
            Content::Nothing | Content::Refused(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate alloc;
    use alloc::string::String;
    use alloc::vec::Vec;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::{
        ActivationId, Capabilities, Capability, EntryFields, Export, Name, TaskletName, Terms,
    };

    /// Work that owns what it is made of; entries in their encoded form.
    type Given = Order<Begin<Vec<u8>, Vec<u8>, String, Vec<u8>>, Vec<u8>, Vec<u8>>;

    fn lent(given: &Given) -> Work<'_> {
        let Ok(work) = given.try_map(
            &mut (),
            |(), start| {
                let entry = Entry::decode(&start.entry).unwrap();
                Ok::<_, Infallible>(start.with(
                    entry,
                    &start.code[..],
                    &start.export[..],
                    &start.args[..],
                ))
            },
            |(), bytes| Ok(&bytes[..]),
            |(), image| Ok(&image[..]),
        );
        work
    }

    fn entry(number: u16, sequence: u16, module: &[u8]) -> Vec<u8> {
        let mut space = [0; 64];
        let export = Export::run("func(list<f32>) -> f32".parse().unwrap());
        let fields = EntryFields {
            number,
            name: Name::new("rms").unwrap(),
            sequence: sequence.max(1),
            digest: Digest::of(module),
            size: module.len() as u32,
            compression: None,
            terms: Terms::empty().with_exports(&[export], &mut space).unwrap(),
            imports: &[],
        };
        let mut bytes = [0; 256];
        let len = fields.encode(&mut bytes).unwrap();
        bytes[..len].to_vec()
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..200)
    }

    prop_compose! {
        fn begin()(
            (activation, parent, fuel) in any::<(u32, Option<u32>, u64)>(),
            (number, sequence, logs) in any::<(u16, u16, bool)>(),
            code in bytes(),
            export in "\\PC{0,40}",
            args in bytes(),
        ) -> Begin<Vec<u8>, Vec<u8>, String, Vec<u8>> {
            Begin {
                activation: ActivationId(activation),
                parent: parent.map(ActivationId),
                name: TaskletName::new("floor/rms").unwrap(),
                entry: entry(number, sequence, &code),
                code,
                export,
                args,
                fuel,
                granted: if logs { Capabilities::NONE.with(Capability::Log) } else { Capabilities::NONE },
            }
        }
    }

    fn given() -> impl Strategy<Value = Given> {
        let id = || any::<u32>().prop_map(ActivationId);
        let fault = select(Fault::ALL);
        let result = prop_oneof![bytes().prop_map(Ok), fault.prop_map(Err)];
        prop_oneof![
            begin().prop_map(Order::Start),
            (begin(), bytes()).prop_map(|(start, image)| Order::Thaw { start, image }),
            id().prop_map(|activation| Order::Continue { activation }),
            id().prop_map(|activation| Order::Stop { activation }),
            (id(), any::<usize>())
                .prop_map(|(activation, room)| Order::Freeze { activation, room }),
            (id(), result, any::<u64>()).prop_map(|(activation, result, fuel)| Order::Resume {
                activation,
                result,
                fuel,
            }),
            (any::<u32>(), any::<[u8; 32]>(), bytes(), any::<[u8; 32]>()).prop_map(
                |(ticket, key, message, half)| Order::Verify {
                    ticket,
                    key,
                    message,
                    signature: [half, half].concat().try_into().unwrap(),
                }
            ),
        ]
    }

    /// What a parcel with this work gives.
    fn expected(work: Work<'_>) -> Work<'_> {
        let mut work = work;
        if let Work::Thaw { start, .. } = &mut work {
            start.args = &[];
        }
        work
    }

    fn copy(bytes: &[u8], _: Option<Digest>) -> Vec<u8> {
        bytes.to_vec()
    }

    proptest! {
        #[test]
        fn work_comes_out_of_a_parcel_as_it_went_in(first in given(), second in given()) {
            let mut fixed = Parcel::new(Fixed::<1000>::new());
            let mut growing = Parcel::new(Growing::<Vec<u8>>::default());
            for work in [lent(&first), lent(&second)] {
                fixed.pack(work, copy);
                growing.pack(work, copy);
                prop_assert_eq!(fixed.open(), Ok(expected(work)));
                prop_assert_eq!(growing.open(), Ok(expected(work)));
                let code = work.begin().map(|start| start.code.to_vec());
                prop_assert_eq!(growing.module(), code.as_ref());
            }
        }

        #[test]
        fn work_that_is_too_large_is_refused_and_the_parcel_takes_other_work(given in given()) {
            let mut parcel = Parcel::new(Fixed::<100>::new());
            let work = lent(&given);
            parcel.pack(work, copy);
            let fault = Fault::ValuesTooLarge;
            match (parcel.open(), work) {
                (Ok(Work::Resume { result: Err(Fault::ValuesTooLarge), .. }), Work::Resume { result, .. }) => {
                    let too_large = result.is_ok_and(|bytes| bytes.len() > 100);
                    prop_assert!(too_large || result == Err(fault));
                }
                (Ok(opened), _) => prop_assert_eq!(opened, expected(work)),
                (Err(outcome), _) => {
                    prop_assert_eq!(outcome, work.refused(fault));
                    prop_assert!(outcome.is_some() && parcel.module().is_none());
                }
            }
            let activation = ActivationId(7);
            parcel.pack(Work::Continue { activation }, copy);
            prop_assert_eq!(parcel.open(), Ok(Work::Continue { activation }));
        }
    }

    #[test]
    fn a_storage_is_used_to_its_last_byte() {
        let mut storage = Fixed::<4>::new();
        assert_eq!(storage.put(b"abc"), Some(0..3));
        assert_eq!(storage.put(b"de"), None);
        assert_eq!(storage.put(b"f"), Some(3..4));
        assert_eq!((storage.put(b"g"), storage.put(b"")), (None, Some(4..4)));
        assert_eq!(storage.bytes(), b"abcf");
    }

    #[test]
    fn an_empty_parcel_is_neither_work_nor_answer() {
        let parcel = Parcel::<_, Vec<u8>>::new(Fixed::<4>::new());
        assert_eq!(parcel.open(), Err(None));
        assert!(parcel.module().is_none());
    }

    #[test]
    fn a_module_is_lent_under_its_entry_s_digest_and_an_image_under_none() {
        let given = Given::Thaw {
            start: Begin {
                activation: ActivationId(1),
                parent: None,
                name: TaskletName::new("floor/rms").unwrap(),
                entry: entry(1, 1, b"module"),
                code: b"module".to_vec(),
                export: String::new(),
                args: Vec::new(),
                fuel: 1,
                granted: Capabilities::NONE,
            },
            image: b"image".to_vec(),
        };
        let mut lent_out = Vec::new();
        let mut parcel = Parcel::new(Growing::<Vec<u8>>::default());
        parcel.pack(lent(&given), |bytes, digest| {
            lent_out.push((bytes.to_vec(), digest));
            bytes.to_vec()
        });
        let module = (b"module".to_vec(), Some(Digest::of(b"module")));
        assert_eq!(lent_out, [module, (b"image".to_vec(), None)]);
    }
}
