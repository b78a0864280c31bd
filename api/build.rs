//! Lists the files of the web app (`webapp/dist`), to be compiled in. None where it was not built.
//! They are copied first: a build of the app that runs meanwhile does no harm.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let variable = |name| env::var(name).map(PathBuf::from).map_err(io::Error::other);
    let dist = variable("CARGO_MANIFEST_DIR")?.join("../webapp/dist");
    let out = variable("OUT_DIR")?;
    let copies = out.join("webapp");
    // The folder is always there: it has a .gitignore, which each build of the app makes again.
    println!("cargo::rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    collect(&dist, &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&dist).map_err(io::Error::other)?;
        let copy = copies.join(name);
        fs::create_dir_all(copy.parent().unwrap_or(&copies))?;
        fs::copy(&file, &copy)?;
        let path = format!("/{}", name.display());
        let _ = writeln!(list, "    ({path:?}, include_bytes!({copy:?})),");
    }
    list.push(']');
    fs::write(out.join("webapp.rs"), list)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_dir() {
            collect(&path, files)?;
        } else if !is_hidden {
            files.push(path);
        }
    }
    Ok(())
}
