mod build;
mod kinds;
mod object;

use windlass_config::{Config, FlagError};
use windlass_model::{SchedulerVersion, SmolStr, Timestamp};
use windlass_objects::{Document, DocumentError, FieldError, read_documents};
use windlass_scheduler::Profiles;

pub(crate) use build::{GROUP_LABEL, insert, node_group};
pub(crate) use kinds::{Change, Failure, NodeGroupDocument, ObjectReference, TimelineEntry};
use kinds::{SimulationDocument, SimulationSpec, TimelineDocument};
pub(crate) use object::Object;

/// The cluster on paper: objects, node groups, settings, and what is to happen.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The simulated clock's start.
    pub now: Timestamp,
    /// The flags.
    pub config: Config,
    /// Whose scheduler decides.
    pub scheduler_version: SchedulerVersion,
    /// The checks of the scheduler, for the autoscaler and the simulated scheduler alike.
    pub profiles: Profiles,
    /// For what is left to chance.
    pub seed: u64,
    /// What is worth saying about the files that is no error.
    pub warnings: Vec<String>,
    pub(crate) objects: Vec<Object>,
    pub(crate) groups: Vec<NodeGroupDocument>,
    pub(crate) timeline: Vec<TimelineEntry>,
}

/// Why a scenario cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A file cannot be read as objects.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A second `Simulation` was found.
    #[error("{file}: document {number} is a second Simulation: a scenario has one at most")]
    SecondSimulation {
        /// The file.
        file: SmolStr,
        /// The document, from 1.
        number: usize,
    },
    /// Two groups have one name.
    #[error("{file}: document {number} is a second NodeGroup {name}")]
    SecondGroup {
        /// The file.
        file: SmolStr,
        /// The document, from 1.
        number: usize,
        /// The group.
        name: SmolStr,
    },
    /// A group lists a node twice, or two groups list one node.
    #[error("node {node} belongs to NodeGroup {first} and to NodeGroup {second}")]
    NodeOfTwoGroups {
        /// The node.
        node: SmolStr,
        /// The group that came first.
        first: SmolStr,
        /// The other.
        second: SmolStr,
    },
    /// The flags of the Simulation are wrong.
    #[error("Simulation spec.flags: {}", list(.0))]
    Flags(Vec<FlagError>),
}

fn list(errors: &[FlagError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// Gathers a scenario from one file after another.
#[derive(Debug, Default)]
pub struct ScenarioReader {
    simulation: Option<SimulationSpec>,
    objects: Vec<Object>,
    groups: Vec<NodeGroupDocument>,
    timeline: Vec<TimelineEntry>,
    warnings: Vec<String>,
}

impl ScenarioReader {
    /// A reader that has read nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file's text; `file` is its name for messages.
    pub fn read(&mut self, file: &str, text: &str) -> Result<(), ScenarioError> {
        for document in read_documents(file, text)? {
            self.read_document(&document)?;
        }
        Ok(())
    }

    fn read_document(&mut self, document: &Document) -> Result<(), ScenarioError> {
        let identity = document.identity();
        if identity.api_version != kinds::API_VERSION {
            match Object::read(document)? {
                Some(object) => self.objects.push(object),
                None => self.warn_skipped(document),
            }
            return Ok(());
        }
        match identity.kind.as_str() {
            "NodeGroup" => {
                let group: NodeGroupDocument = document.read()?;
                group.check().map_err(|error| document.field_error(error))?;
                let name = &group.metadata.name;
                if self.groups.iter().any(|other| other.metadata.name == *name) {
                    return Err(ScenarioError::SecondGroup {
                        file: document.file.clone(),
                        number: document.number,
                        name: name.clone(),
                    });
                }
                self.groups.push(group);
            }
            "Simulation" => {
                let simulation: SimulationDocument = document.read()?;
                if self.simulation.replace(simulation.spec).is_some() {
                    return Err(ScenarioError::SecondSimulation {
                        file: document.file.clone(),
                        number: document.number,
                    });
                }
            }
            "Timeline" => {
                let timeline: TimelineDocument = document.read()?;
                for (index, entry) in timeline.spec.entries.into_iter().enumerate() {
                    let entry = entry.check().map_err(|error| {
                        document.field_error(FieldError {
                            path: format!("spec.entries[{index}].{}", error.path),
                            message: error.message,
                        })
                    })?;
                    self.timeline.push(entry);
                }
            }
            _ => self.warn_skipped(document),
        }
        Ok(())
    }

    fn warn_skipped(&mut self, document: &Document) {
        let identity = document.identity();
        self.warnings.push(format!(
            "{}: document {}: {identity} ({}) is not read",
            document.file, document.number, identity.api_version
        ));
    }

    /// The scenario of all that was read.
    pub fn finish(self) -> Result<Scenario, ScenarioError> {
        let Self {
            simulation,
            objects,
            groups,
            mut timeline,
            mut warnings,
        } = self;
        let simulation = simulation.unwrap_or_default();
        let (mut config, flag_warnings) =
            Config::parse(&simulation.flags).map_err(ScenarioError::Flags)?;
        warnings.extend(flag_warnings.iter().map(ToString::to_string));
        if let Some(seed) = simulation.seed {
            config.process.seed = seed;
        }
        timeline.sort_by_key(|entry| entry.at);
        let scenario = Scenario {
            now: simulation.now.unwrap_or(kinds::DEFAULT_NOW),
            seed: config.process.seed,
            config,
            scheduler_version: simulation.kubernetes_version.0,
            profiles: Profiles::default(),
            warnings,
            objects,
            groups,
            timeline,
        };
        scenario.check_memberships()?;
        Ok(scenario)
    }
}
