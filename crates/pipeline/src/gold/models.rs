//! The models that there are: those that come with Tidegate, and those in the folder of its user.

use std::path::Path;
use std::sync::Arc;

use experiments::definition::Experiment;
use medallion::gold::{Declared, Model, built_in, experiment};

use super::folder::{self, failed};
use crate::error::Error;

/// Models, each after those it reads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Models(Arc<[Arc<Model>]>);

impl Models {
    /// Those that come with Tidegate, and those in a folder: `name.sql` and `name.yaml` make the table `gold.name`. One of the folder takes the place of one of the same name
    /// that comes with Tidegate. The tables of the experiments come last.
    ///
    /// # Errors
    /// `Setting` for a folder or a file that cannot be read, is no model, or reads what there is not, with the file and the line.
    pub fn load(folder: Option<&Path>, experiments: &[Experiment]) -> Result<Self, Error> {
        let mut own = match folder {
            Some(folder) => read(folder)?,
            None => Vec::new(),
        };
        let theirs = built_in().iter().filter(|model| own.iter().all(|other| other.name != model.name)).cloned().collect::<Vec<_>>();
        own.splice(0..0, theirs);
        for model in experiments.iter().flat_map(experiment::models) {
            if own.iter().any(|other| other.name == model.name) {
                return Err(Error::Setting(format!("{} is a table of an experiment; give the model another name", model.name)));
            }
            own.push(model);
        }
        in_order(own).map(|models| Self(models.into_iter().map(Arc::new).collect()))
    }

    /// All of them, each after those it reads.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Model>> {
        self.0.iter()
    }

    /// The one of this table, given with or without `gold.`.
    pub fn named(&self, name: &str) -> Option<&Arc<Model>> {
        self.0.iter().find(|model| model.name == name || model.name.strip_prefix("gold.") == Some(name))
    }

    /// Whether one reads this table.
    pub(crate) fn reading<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a Arc<Model>> {
        self.0.iter().filter(move |model| model.reads.iter().any(|input| input.table == table))
    }
}

fn read(folder: &Path) -> Result<Vec<Model>, Error> {
    let mut models: Vec<Model> = Vec::new();
    for path in folder::files(folder, "models", &["sql", "yaml", "yml"])? {
        let text = folder::text(&path)?;
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let model = if path.extension().is_some_and(|end| end == "sql") {
            Model::parse(name, &text).map_err(|error| failed(&path, &error))?
        } else {
            let declared: Declared = serde_saphyr::from_str(&text).map_err(|error| failed(&path, &error))?;
            declared.model(name).map_err(|error| failed(&path, &error.what))?
        };
        if models.iter().any(|other| other.name == model.name) {
            return Err(failed(&path, &format!("there is another file for {}", model.name)));
        }
        models.push(model);
    }
    Ok(models)
}

/// Each after those it reads.
fn in_order(mut rest: Vec<Model>) -> Result<Vec<Model>, Error> {
    let names: Vec<String> = rest.iter().map(|model| model.name.clone()).collect();
    for model in &rest {
        if let Some(input) = model.reads.iter().find(|input| input.table.starts_with("gold.") && !names.contains(&input.table)) {
            return Err(Error::Setting(format!(
                "{} reads {}, and there is no such model; there are {}",
                model.name,
                input.table,
                names.join(", ")
            )));
        }
    }
    let mut ordered: Vec<Model> = Vec::new();
    while !rest.is_empty() {
        let is_ready = |model: &Model| {
            model.reads.iter().all(|input| !input.table.starts_with("gold.") || ordered.iter().any(|earlier| earlier.name == input.table))
        };
        let Some(next) = rest.iter().position(is_ready) else {
            let names: Vec<&str> = rest.iter().map(|model| model.name.as_str()).collect();
            return Err(Error::Setting(format!("these models read each other in a circle: {}", names.join(", "))));
        };
        ordered.push(rest.remove(next));
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "-- grain: a day\n-- keys: event_date\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn files_add_to_what_there_is_and_take_its_place() {
        let reads = |table: &str| format!("{HEAD}-- reads: {table}\nSELECT event_date FROM {table}");
        let files = [
            ("a.sql", reads("gold.b")),
            ("b.sql", reads("silver.events")),
            ("active_users.sql", reads("gold.a")),
            ("way.yaml", "funnel:\n  within_days: 3\n  steps: [{name: one, event_type: one}, {name: two, event_type: two}]\n".to_owned()),
            ("notes.txt", "no model".to_owned()),
        ];
        let folder = folder(&files.each_ref().map(|(name, text)| (*name, text.as_str())));
        let models = Models::load(Some(folder.path()), &[]).unwrap();
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(models.iter().len(), built_in().len() + 3, "{names:?}");
        let place = |name: &str| names.iter().position(|other| *other == name).unwrap();
        assert!(place("gold.b") < place("gold.a") && place("gold.a") < place("gold.active_users"), "{names:?}");
        assert_eq!(models.named("active_users").unwrap().reads[0].table, "gold.a");
        assert_eq!(models.reading("gold.b").map(|model| model.name.as_str()).collect::<Vec<_>>(), ["gold.a"]);
        assert!(models.named("gold.way").is_some() && models.named("nothing").is_none());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file() {
        let check = |files: &[(&str, &str)], parts: &[&str]| {
            let folder = folder(files);
            let error = Models::load(Some(folder.path()), &[]).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        };
        check(&[("a.sql", "SELECT 1")], &["a.sql: line 1: ", "grain"]);
        check(&[("A.sql", HEAD)], &["A.sql: line 1: `A` cannot name a table"]);
        check(&[("a.yaml", "funnel: 7")], &["a.yaml: "]);
        check(&[("a.yaml", "funnel:\n  within_days: 3\n  steps: []\n")], &["a.yaml: a funnel has 2 to 20 steps"]);
        let one = format!("{HEAD}-- reads: gold.b\nSELECT 1");
        check(&[("a.sql", &one)], &["gold.a reads gold.b, and there is no such model"]);
        let other = format!("{HEAD}-- reads: gold.a\nSELECT 1");
        check(&[("a.sql", &one), ("b.sql", &other)], &["in a circle: gold.a, gold.b"]);
        let third = "retention:\n  starts: {event_type: x}\n  days: [1]\n";
        check(&[("a.yaml", third), ("a.yml", third)], &["there is another file for gold.a"]);
        let missing = Models::load(Some(Path::new("/does/not/exist")), &[]).unwrap_err().to_string();
        assert!(missing.contains("/does/not/exist: the folder of models cannot be read"), "{missing}");
    }
}
