//! What scripts/ebpf.sh does with objects: `strip IN OUT` leaves out what only a debugger reads;
//! `compare A B` says whether two hold the same programs: instructions, relocations, maps and BTF types.
//! Line tables are not compared, nor where in memory anything was laid out.

use anyhow::{Context, Result, bail};
use object::build::elf::{Builder, SectionData};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionFlags};
use std::collections::BTreeMap;
use std::fs;

/// BTF type records, with names in place of their offsets.
mod btf;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["strip", from, to] => strip(from, to),
        ["compare", a, b] => compare(a, b),
        _ => bail!("usage: ion-bpf-object strip IN OUT | compare A B"),
    }
}

fn strip(from: &str, to: &str) -> Result<()> {
    let data = fs::read(from).with_context(|| format!("reading {from}"))?;
    let mut object = Builder::read(&*data)?;
    for section in &mut object.sections {
        let name = section.name.to_string();
        section.delete = name.starts_with(".debug") || name.starts_with(".rel.debug");
    }
    object.delete_orphans();
    // LLVM keeps the names of sections and of symbols in one table; the writer wants two.
    let names = object.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.data = SectionData::SectionString;
    object.set_section_sizes();
    let mut stripped = Vec::new();
    object.write(&mut stripped)?;
    fs::write(to, stripped).with_context(|| format!("writing {to}"))
}

fn compare(a: &str, b: &str) -> Result<()> {
    let (parts_a, parts_b) = (parts(a)?, parts(b)?);
    let names = parts_a.keys().chain(parts_b.keys());
    let mut differing: Vec<_> = names
        .filter(|name| parts_a.get(*name) != parts_b.get(*name))
        .collect();
    differing.sort_unstable();
    differing.dedup();
    if differing.is_empty() {
        return Ok(());
    }
    for name in &differing {
        let none = Vec::new();
        let lines_a = parts_a.get(*name).unwrap_or(&none);
        let lines_b = parts_b.get(*name).unwrap_or(&none);
        let first = lines_a.iter().zip(lines_b).position(|(a, b)| a != b);
        let at = first.unwrap_or(lines_a.len().min(lines_b.len()));
        eprintln!(
            "{name}: {} lines in {a}, {} in {b}; the first that differs is {at}:",
            lines_a.len(),
            lines_b.len()
        );
        eprintln!("  {}", lines_a.get(at).map_or("-", String::as_str));
        eprintln!("  {}", lines_b.get(at).map_or("-", String::as_str));
    }
    bail!("{} parts differ", differing.len())
}

/// What counts of an object, in lines, by section.
fn parts(path: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let data = fs::read(path).with_context(|| format!("reading {path}"))?;
    let object = ElfFile64::<object::Endianness>::parse(&*data)?;
    let mut parts = BTreeMap::new();
    for section in object.sections() {
        let name = section.name()?.to_owned();
        let data = section.data()?;
        let mut lines = match name.as_str() {
            ".BTF" => btf::lines(data)?,
            "license" => vec![format!("{data:?}")],
            ".maps" => vec![format!("{} bytes", data.len())],
            _ if is_code(&section) => data.chunks(8).map(|i| format!("{i:02x?}")).collect(),
            _ => continue,
        };
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(symbol) = relocation.target() else {
                bail!("{name}+{offset:#x}: a relocation without a symbol");
            };
            let symbol = object.symbol_by_index(symbol)?;
            lines.push(format!("{offset:#x}: {}", plain(symbol.name()?)));
        }
        for symbol in object.symbols() {
            if symbol.section_index() == Some(section.index()) && symbol.is_global() {
                let (address, size) = (symbol.address(), symbol.size());
                lines.push(format!("{}: {address:#x}, {size}", plain(symbol.name()?)));
            }
        }
        parts.insert(name, lines);
    }
    Ok(parts)
}

fn is_code<'data>(section: &impl ObjectSection<'data>) -> bool {
    let SectionFlags::Elf { sh_flags } = section.flags() else {
        return false;
    };
    sh_flags & u64::from(object::elf::SHF_EXECINSTR) != 0
}

/// A symbol without the hashes of its crates, which depend on where the sources lie.
fn plain(name: &str) -> String {
    let mut plain = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("Cs") {
        plain.push_str(before);
        plain.push_str("Cs");
        rest = after.split_once('_').map_or(after, |(_, rest)| rest);
    }
    plain + rest
}
