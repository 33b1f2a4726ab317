//! The words and layouts of mails: embedded in the program, and over them what the operator's own directory has.
//!
//! ```text
//! DIR/layout.html   DIR/layout.txt   DIR/locales/de.ftl
//! ```

use std::path::Path;

use super::locale::{FILES, Locale, find};

pub(super) const LAYOUTS: [(&str, &str); 2] = [
    ("layout.html", include_str!("../../templates/layout.html")),
    ("layout.txt", include_str!("../../templates/layout.txt")),
];

/// Why mails cannot be written. Every kind is a fault of a template or a catalogue: the same call fails again.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("{file}: {cause}")]
    Unreadable { file: String, cause: std::io::Error },
    #[error("{file}, line {line}: {problem}")]
    Catalogue { file: String, line: usize, problem: String },
    #[error("the default locale {0:?} is none of {1}")]
    NoDefault(String, String),
    #[error("catalogue {locale} has no mail {template}")]
    Missing { locale: String, template: &'static str },
    /// The cause names file and line.
    #[error("mail {template} does not render in {locale}: {cause}")]
    Render { locale: String, template: &'static str, cause: minijinja::Error },
}

/// All that mails are written with.
#[derive(Debug)]
pub struct Templates {
    /// By file name, `layout.html` and `layout.txt`.
    pub(super) layouts: Vec<(&'static str, String)>,
    locales: Vec<Locale>,
    /// The tag of the locale for everybody whose language has none.
    default: String,
}

impl Templates {
    /// Reads the embedded files and those of `folder` over them.
    ///
    /// # Errors
    /// A file that cannot be read, by its path, and where in it; a default locale that there is not.
    pub fn load(folder: Option<&Path>, default_locale: Option<&str>) -> Result<Self, TemplateError> {
        let mut layouts: Vec<(&'static str, String)> =
            LAYOUTS.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        let mut locales = Vec::new();
        for (tag, text) in FILES {
            locales.push(Locale::parse(tag, text, &format!("{tag}.ftl"))?);
        }
        if let Some(folder) = folder {
            // Without it every mail would go in the embedded words, and nobody would notice.
            std::fs::read_dir(folder)
                .map_err(|cause| TemplateError::Unreadable { file: folder.display().to_string(), cause })?;
            for (name, text) in &mut layouts {
                let file = folder.join(*name);
                if file.exists() {
                    *text = read(&file)?;
                }
            }
            for file in catalogues(&folder.join("locales"))? {
                let tag = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                let locale = Locale::parse(tag, &read(&file)?, &file.display().to_string())?;
                locales.retain(|known| !known.tag.eq_ignore_ascii_case(tag));
                locales.push(locale);
            }
        }
        let wanted = default_locale.unwrap_or(FILES[0].0);
        let default = find(&locales, wanted).map(|locale| locale.tag.clone()).ok_or_else(|| {
            let tags: Vec<&str> = locales.iter().map(|locale| locale.tag.as_str()).collect();
            TemplateError::NoDefault(wanted.to_owned(), tags.join(", "))
        })?;
        Ok(Self { layouts, locales, default })
    }

    /// The language tags mails can be written in.
    pub fn locales(&self) -> impl Iterator<Item = &str> {
        self.locales.iter().map(|locale| locale.tag.as_str())
    }

    /// The tag of the catalogue that serves a language tag: its own, one of the same language, or the default.
    pub fn locale_for(&self, wanted: &str) -> &str {
        find(&self.locales, wanted).map_or(&self.default, |locale| &locale.tag)
    }

    pub(super) fn locale(&self, wanted: &str) -> Option<&Locale> {
        find(&self.locales, self.locale_for(wanted))
    }
}

fn read(file: &Path) -> Result<String, TemplateError> {
    std::fs::read_to_string(file).map_err(|cause| TemplateError::Unreadable { file: file.display().to_string(), cause })
}

/// The `.ftl` files of a directory, by name; none where there is no such directory.
fn catalogues(folder: &Path) -> Result<Vec<std::path::PathBuf>, TemplateError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let failed = |cause| TemplateError::Unreadable { file: folder.display().to_string(), cause };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "ftl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_adds_a_language_and_changes_a_layout() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("locales")).unwrap();
        std::fs::write(folder.path().join("locales/de.ftl"), FILES[0].1).unwrap();
        std::fs::write(folder.path().join("layout.txt"), "ours\n").unwrap();
        let templates = Templates::load(Some(folder.path()), Some("pt")).unwrap();
        assert_eq!(templates.locales().collect::<Vec<_>>(), ["en", "pt-BR", "de"]);
        assert_eq!((templates.locale_for("de-AT"), templates.locale_for("fr")), ("de", "pt-BR"));
        assert_eq!(templates.layouts[1].1, "ours\n");
    }

    #[test]
    fn an_error_names_the_file_and_the_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("locales")).unwrap();
        std::fs::write(folder.path().join("locales/de.ftl"), "money-decimal = ,\nmoney-group\n").unwrap();
        let error = Templates::load(Some(folder.path()), None).unwrap_err().to_string();
        assert!(error.contains("locales/de.ftl") && error.contains("line 2"), "{error}");
        let error = Templates::load(Some(&folder.path().join("none")), None).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
        let error = Templates::load(None, Some("fr")).unwrap_err().to_string();
        assert!(error.contains("fr") && error.contains("pt-BR"), "{error}");
    }
}
