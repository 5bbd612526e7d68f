//! What programs can name of `client`, `layer` and `node` stands in `docs/surface/`: whoever changes it sees that, and so
//! does whoever reads the change.
//!
//! Read from the source, not from what the compiler knows (decision 45): derives stand for what they implement, and
//! what other crates' items look like stands in their own file or nowhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Fields, ImplItem, Item, TraitItem, Type, UseTree, Visibility};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The items of a file and of the modules that it declares, without those of tests.
fn items(file: &Path, found: &mut Vec<Item>) {
    let text = fs::read_to_string(file).unwrap();
    let parsed = syn::parse_file(&text).unwrap();
    let stem = file.file_stem().unwrap();
    let folder = match stem.to_str().unwrap() {
        "lib" | "mod" => file.parent().unwrap().to_owned(),
        _ => file.with_extension(""),
    };
    for item in parsed.items {
        match item {
            Item::Mod(module) if is_test(&module.attrs) => {}
            Item::Mod(module) if module.content.is_none() => {
                let name = module.ident.to_string();
                let file = folder.join(format!("{name}.rs"));
                let file = if file.is_file() {
                    file
                } else {
                    folder.join(name).join("mod.rs")
                };
                items(&file, found);
            }
            item => found.push(item),
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    let is_test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    };
    attributes.iter().any(is_test)
}

/// What changes how an item can be used; not what is said of it.
fn keep(attributes: &mut Vec<Attribute>) {
    let kept = ["derive", "non_exhaustive", "must_use", "cfg"];
    attributes.retain(|attribute| {
        let is_kept = |name: &&str| attribute.path().is_ident(name);
        kept.iter().any(is_kept)
    });
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The names that a `pub use` gives.
fn names(tree: &UseTree, found: &mut BTreeSet<String>) {
    match tree {
        UseTree::Path(path) => names(&path.tree, found),
        UseTree::Name(name) => drop(found.insert(name.ident.to_string())),
        UseTree::Rename(rename) => drop(found.insert(rename.ident.to_string())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| names(tree, found)),
        UseTree::Glob(_) => panic!("a surface of everything is none"),
    }
}

/// An item as a program sees it: signatures without bodies, and no private field. `None`: it sees nothing of it.
fn seen(mut item: Item, exported: &BTreeSet<String>) -> Option<Item> {
    let is_exported = |name: &syn::Ident| exported.contains(&name.to_string());
    match &mut item {
        Item::Struct(it) if is_public(&it.vis) && is_exported(&it.ident) => {
            keep(&mut it.attrs);
            show(&mut it.fields);
        }
        Item::Enum(it) if is_public(&it.vis) && is_exported(&it.ident) => {
            keep(&mut it.attrs);
            for variant in &mut it.variants {
                keep(&mut variant.attrs);
                let fields = variant.fields.iter_mut();
                fields.for_each(|field| keep(&mut field.attrs));
            }
        }
        Item::Type(it) if is_public(&it.vis) && is_exported(&it.ident) => keep(&mut it.attrs),
        Item::Fn(it) if is_public(&it.vis) && is_exported(&it.sig.ident) => {
            keep(&mut it.attrs);
            it.block.stmts.clear();
        }
        Item::Trait(it) if is_public(&it.vis) && is_exported(&it.ident) => {
            keep(&mut it.attrs);
            for item in &mut it.items {
                match item {
                    TraitItem::Fn(method) => {
                        keep(&mut method.attrs);
                        // That there is one says that it need not be written.
                        let body = method.default.iter_mut();
                        body.for_each(|body| body.stmts.clear());
                    }
                    TraitItem::Type(it) => keep(&mut it.attrs),
                    TraitItem::Const(it) => keep(&mut it.attrs),
                    _ => {}
                }
            }
        }
        Item::Impl(it) => {
            let Type::Path(of) = &*it.self_ty else {
                return None;
            };
            if !is_exported(&of.path.segments.last()?.ident) || is_test(&it.attrs) {
                return None;
            }
            if it.trait_.is_some() {
                // The trait says what is in it, but for its types.
                it.items.retain(|item| matches!(item, ImplItem::Type(_)));
            }
            it.items.retain(|item| match item {
                ImplItem::Fn(method) => is_public(&method.vis),
                ImplItem::Const(it) => is_public(&it.vis),
                _ => true,
            });
            for item in &mut it.items {
                match item {
                    ImplItem::Fn(method) => {
                        keep(&mut method.attrs);
                        method.block.stmts.clear();
                    }
                    ImplItem::Const(it) => keep(&mut it.attrs),
                    _ => {}
                }
            }
            if it.items.is_empty() && it.trait_.is_none() {
                return None;
            }
            keep(&mut it.attrs);
        }
        _ => return None,
    }
    Some(item)
}

/// Public fields, and one in the place of all others.
fn show(fields: &mut Fields) {
    let mut is_hidden = false;
    let mut shown = |field: &mut syn::Field| {
        keep(&mut field.attrs);
        is_hidden |= !is_public(&field.vis);
        is_public(&field.vis)
    };
    match fields {
        Fields::Named(named) => {
            named.named = named
                .named
                .clone()
                .into_iter()
                .filter_map(|mut field| shown(&mut field).then_some(field))
                .collect();
            if is_hidden {
                named.named.push(syn::parse_quote!(_private: ()));
            }
        }
        Fields::Unnamed(unnamed) => {
            for field in &mut unnamed.unnamed {
                if !shown(field) {
                    field.ty = syn::parse_quote!(_);
                }
            }
        }
        Fields::Unit => {}
    }
}

/// What the crate gives at its root, and what that can do.
fn surface(name: &str) -> String {
    let lib = root().join("crates").join(name).join("src/lib.rs");
    let mut all = Vec::new();
    items(&lib, &mut all);
    let at_root = syn::parse_file(&fs::read_to_string(&lib).unwrap()).unwrap();
    let mut exported = BTreeSet::new();
    let mut lines = BTreeSet::new();
    for item in at_root.items {
        match item {
            Item::Use(it) if is_public(&it.vis) => {
                names(&it.tree, &mut exported);
                lines.insert(text(Item::Use(it)));
            }
            Item::Mod(mut it) if is_public(&it.vis) => {
                keep(&mut it.attrs);
                lines.insert(text(Item::Mod(it)));
            }
            _ => {}
        }
    }
    let seen = all.into_iter().filter_map(|item| seen(item, &exported));
    lines.extend(seen.map(text));
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

fn text(item: Item) -> String {
    prettyplease::unparse(&syn::File {
        shebang: None,
        attrs: Vec::new(),
        items: vec![item],
    })
}

/// After a change that is meant: `WEIR_SURFACE=write cargo test -p xtask --test surface`.
#[test]
fn what_programs_can_name_is_what_is_written_down() {
    for name in ["client", "layer", "node"] {
        let path = root().join("docs/surface").join(format!("{name}.txt"));
        let surface = surface(name);
        assert!(10 < surface.lines().count(), "{surface}");
        if std::env::var_os("WEIR_SURFACE").is_some_and(|what| what == "write") {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &surface).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        let gone = written
            .lines()
            .filter(|&line| !surface.lines().any(|it| it == line));
        let gone: Vec<&str> = gone.collect();
        let new = surface
            .lines()
            .filter(|&line| !written.lines().any(|it| it == line));
        let new: Vec<&str> = new.collect();
        assert!(
            written == surface,
            "{name} differs from {}; gone: {gone:#?}; new: {new:#?}",
            path.display()
        );
    }
}
