//! The verbs. Each is one file with the same two items:
//!
//! - `Args`, its command line (a [`clap::Args`]) with help, a flag `json` and, in `after_help`, an
//!   example;
//! - `run(&Args)`, which carries the verb out.
//!
//! A new verb is such a file and a line in the list below.

/// Declares the modules of verbs and their subcommands.
macro_rules! verbs {
    ($($module:ident $name:ident,)+) => {
        $(mod $module;)+

        /// What to do.
        #[derive(clap::Subcommand, Debug)]
        pub(crate) enum Verb {
            $(#[allow(missing_docs, reason = "documented on its arguments")] $name($module::Args),)+
        }

        impl Verb {
            /// Does it.
            ///
            /// # Errors
            /// The error of the verb; its message is for the person at the terminal.
            pub(crate) fn run(&self) -> anyhow::Result<()> {
                match self {
                    $(Self::$name(args) => $module::run(args),)+
                }
            }

            /// Its name on the command line.
            pub(crate) fn name(&self) -> String {
                match self {
                    $(Self::$name(_) => stringify!($name).to_ascii_lowercase(),)+
                }
            }

            /// Whether it prints JSON, an error included.
            pub(crate) fn json(&self) -> bool {
                match self {
                    $(Self::$name(args) => args.json,)+
                }
            }
        }
    };
}

verbs! {
    demo Demo,
    sim Sim,
    testbed Testbed,
    new New,
    build Build,
    dev Dev,
    test Test,
    run Run,
    thaw Thaw,
    check Check,
    pack Pack,
    inline Inline,
    inspect Inspect,
    keygen Keygen,
    provision Provision,
    registry Registry,
    node Node,
    publish Publish,
    rm Rm,
    history History,
    rollback Rollback,
    ls Ls,
    pull Pull,
    call Call,
    cancel Cancel,
    ps Ps,
    status Status,
    top Top,
    logs Logs,
    record Record,
    relocate Move,
    drain Drain,
    flow Flow,
}
