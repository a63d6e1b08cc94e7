//! Names for places in the node's tables.

macro_rules! places {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub(crate) struct $name(u16);

        impl $name {
            /// The place number `index`; tables are shorter than 65536.
            pub(crate) fn new(index: usize) -> Self {
                debug_assert!(index <= usize::from(u16::MAX));
                Self(index as u16)
            }

            /// The index into the table.
            pub(crate) fn index(self) -> usize {
                usize::from(self.0)
            }
        }
    )*};
}

places! {
    /// A place in the table of jobs.
    JobAt;
    /// A place in the table of acquisitions.
    AcquisitionAt;
    /// A place in the table of subscriptions, which is that of the node's namespaces.
    SubscriptionAt;
    /// A place among the items of flows that a node keeps.
    ItemAt;
    /// A place in a job's stack of activations, 0 at the bottom.
    Depth;
}

impl Depth {
    /// The bottom of a stack.
    pub(crate) const BOTTOM: Self = Self(0);

    /// The next place upwards.
    pub(crate) fn above(self) -> Self {
        Self::new(self.index() + 1)
    }
}
