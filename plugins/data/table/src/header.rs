//! Names of the columns, and the settings that refer to them.

use std::path::Path;

use fluxbay_plugin::prelude::*;

use crate::config::Settings;

/// Column names of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub names: Vec<String>,
}

/// The columns that are read: positions of the features in their order, and of the target.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    pub features: Vec<usize>,
    pub target: usize,
    /// Features that are categories by configuration.
    pub categorical: Vec<usize>,
    /// Features that are encoded by a hash.
    pub hashed: Vec<usize>,
    /// Features that are lists of ids.
    pub ids: Vec<usize>,
    /// Features that are bytes.
    pub bytes: Vec<usize>,
}

impl Header {
    /// Finds the columns that the configuration names.
    ///
    /// # Errors
    /// A name that the file lacks or has twice, a column listed twice, no column left to predict
    /// from, or the target among the features.
    pub fn choose(&self, path: &Path, config: &Settings) -> Result<Chosen> {
        let list = |key: &str, names: &[String]| -> Result<Vec<usize>> {
            let mut found = Vec::new();
            for name in names {
                let position = self.position(path, name, key)?;
                if found.contains(&position) {
                    bail!("{key} lists column `{}` twice", self.names[position]);
                }
                found.push(position);
            }
            Ok(found)
        };
        let target = self.position(path, &config.target, "target")?;
        let ignored = list("ignore", &config.ignore)?;
        let features = match &config.columns {
            Some(columns) => list("columns", columns)?,
            None => (0..self.names.len())
                .filter(|index| *index != target && !ignored.contains(index))
                .collect(),
        };
        if features.is_empty() {
            bail!("{}: no column is left to predict from", path.display());
        }
        if features.contains(&target) {
            bail!("column `{}` is both the target and predicted from", self.names[target]);
        }
        let used: Vec<usize> = features.iter().copied().chain([target]).collect();
        for &index in &used {
            self.unique(path, index, &used)?;
        }
        let categorical = list("categorical", &config.categorical)?;
        let other = |key: &str, names: &[String]| -> Result<Vec<usize>> {
            let found = list(key, names)?;
            if found.contains(&target) {
                bail!("{key} names the target, column `{}`", self.names[target]);
            }
            Ok(found)
        };
        let (hashed, ids) = (other("hashed", &config.hashed)?, other("ids", &config.ids)?);
        let bytes = other("bytes", &config.bytes)?;
        Ok(Chosen { features, target, categorical, hashed, ids, bytes })
    }

    /// Fails if another one of `columns` has the name of column `index`.
    fn unique(&self, path: &Path, index: usize, columns: &[usize]) -> Result<()> {
        let name = &self.names[index];
        if let Some(other) =
            columns.iter().find(|other| **other != index && self.names[**other] == *name)
        {
            bail!(
                "{}: columns {} and {} (counted from 0) are both called `{name}`: rename one of them, or refer to both by number and leave one out with `ignore`",
                path.display(),
                index.min(*other),
                index.max(*other)
            );
        }
        Ok(())
    }

    fn position(&self, path: &Path, name: &str, key: &str) -> Result<usize> {
        if let Some(index) = self.names.iter().position(|column| column == name) {
            let all: Vec<usize> = (0..self.names.len()).collect();
            self.unique(path, index, &all).context(format!("{key} = {name:?}"))?;
            return Ok(index);
        }
        match name.parse::<usize>() {
            Ok(index) if index < self.names.len() => Ok(index),
            _ => bail!(
                "{}: {key} names column `{name}`, the file has: {}",
                path.display(),
                self.names.join(", ")
            ),
        }
    }
}
