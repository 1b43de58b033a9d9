//! What the environment of a process says about the launcher that started it.

/// The launcher of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Launcher {
    /// Its name for messages; empty for none.
    pub name: &'static str,
    /// Number of processes that it started, if it says so.
    pub ranks: Option<u32>,
    /// Number of this process on its machine.
    pub local: Option<u32>,
}

const OPEN_MPI: &str = "mpirun of Open MPI";
const HYDRA: &str = "mpiexec of MPICH or Intel MPI";
const SLURM: &str = "srun";
const PMIX: &str = "a launcher with PMIx";

impl Launcher {
    /// The launcher that these variables belong to.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Launcher {
        let number = |name: &str| variable(name).and_then(|text| text.parse().ok());
        let has = |name: &str| variable(name).is_some();
        if has("OMPI_COMM_WORLD_SIZE") {
            return Launcher {
                name: OPEN_MPI,
                ranks: number("OMPI_COMM_WORLD_SIZE"),
                local: number("OMPI_COMM_WORLD_LOCAL_RANK"),
            };
        }
        if has("PMI_SIZE") || has("PMI_RANK") {
            return Launcher {
                name: HYDRA,
                ranks: number("PMI_SIZE"),
                local: number("MPI_LOCALRANKID"),
            };
        }
        // A batch script has some of Slurm's variables as well, but no step.
        if has("SLURM_STEP_ID") && has("SLURM_PROCID") {
            let ranks = number("SLURM_STEP_NUM_TASKS").or_else(|| number("SLURM_NTASKS"));
            return Launcher { name: SLURM, ranks, local: number("SLURM_LOCALID") };
        }
        if has("PMIX_RANK") {
            return Launcher { name: PMIX, ranks: None, local: None };
        }
        Launcher::default()
    }

    /// Names of the libraries that belong to it, the likeliest first.
    pub fn libraries(&self) -> &'static [&'static str] {
        const OPEN: &str = "libmpi.so.40";
        const MPICH: &str = "libmpich.so.12";
        const INTEL: &str = "libmpi.so.12";
        match self.name {
            HYDRA => &[MPICH, INTEL],
            OPEN_MPI => &[OPEN],
            _ => &[OPEN, MPICH, INTEL],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Launcher {
        Launcher::of(|asked| {
            let found = variables.iter().find(|(name, _)| *name == asked);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn launchers_are_told_apart_by_their_variables() {
        assert_eq!(of(&[]), Launcher::default());
        let open = of(&[
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("PMIX_RANK", "1"),
        ]);
        assert_eq!((open.ranks, open.local), (Some(4), Some(1)));
        assert_eq!(open.libraries(), ["libmpi.so.40"]);
        let hydra = of(&[("PMI_RANK", "0"), ("PMI_SIZE", "2")]);
        assert_eq!((hydra.name, hydra.ranks), (HYDRA, Some(2)));
        assert_eq!(hydra.libraries()[0], "libmpich.so.12");
        // The variables of a batch script alone are no launcher.
        assert_eq!(of(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")]).name, "");
        let step = [("SLURM_STEP_ID", "0"), ("SLURM_PROCID", "3"), ("SLURM_NTASKS", "8")];
        assert_eq!(of(&step).ranks, Some(8));
    }
}
