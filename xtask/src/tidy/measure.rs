//! Measuring a source file: how long is its product part, how long are its functions.
//!
//! *Product* is everything outside `#[cfg(test)]`, and outside of files that are tests by their place.
//! Lines are physical lines, comments and blank ones included: what a reader scrolls through. A
//! function counts from its `fn` to its closing brace.

use syn::{
    Attribute, ImplItemFn, Item, ItemFn, ItemImpl, ItemMod, TraitItemFn, spanned::Spanned as _,
    visit::Visit,
};

/// What was measured in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Lines outside of tests.
    pub product_lines: usize,
    /// Every function outside of tests.
    pub functions: Vec<Function>,
    /// Names of types and modules, with their lines.
    pub names: Vec<(String, usize)>,
    /// Modules in files of their own that are compiled for tests only.
    pub test_modules: Vec<String>,
}

/// One function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name, with its type before it if it has one.
    pub name: String,
    /// The line it begins on.
    pub line: usize,
    /// How many lines it has.
    pub lines: usize,
}

/// Measures the text of a file.
///
/// # Errors
/// When it is no Rust.
pub fn measure(text: &str) -> syn::Result<Measure> {
    let file = syn::parse_file(text)?;
    let mut visitor = Visitor::default();
    if !file.attrs.iter().any(is_test_only) {
        visitor.visit_file(&file);
        visitor.measure.product_lines = text.lines().count() - visitor.test_lines;
    }
    Ok(visitor.measure)
}

#[derive(Default)]
struct Visitor {
    measure: Measure,
    owner: Vec<String>,
    test_lines: usize,
}

impl Visitor {
    fn function(&mut self, name: &syn::Ident, begin: proc_macro2::Span, end: proc_macro2::Span) {
        let (first, last) = (begin.start().line, end.end().line);
        let mut name = name.to_string();
        if let Some(owner) = self.owner.last() {
            name = format!("{owner}::{name}");
        }
        self.measure.functions.push(Function { name, line: first, lines: last - first + 1 });
    }

    fn name(&mut self, name: &syn::Ident) {
        self.measure.names.push((name.to_string(), name.span().start().line));
    }

    fn owned(&mut self, owner: String, visit: impl FnOnce(&mut Self)) {
        self.owner.push(owner);
        visit(self);
        self.owner.pop();
    }
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item(&mut self, item: &'ast Item) {
        if attributes(item).iter().any(is_test_only) {
            let span = item.span();
            self.test_lines += span.end().line - span.start().line + 1;
            if let Item::Mod(ItemMod { ident, content: None, .. }) = item {
                self.measure.test_modules.push(ident.to_string());
            }
            return;
        }
        match item {
            Item::Struct(item) => self.name(&item.ident),
            Item::Enum(item) => self.name(&item.ident),
            Item::Trait(item) => {
                self.name(&item.ident);
                let owner = item.ident.to_string();
                return self.owned(owner, |this| syn::visit::visit_item_trait(this, item));
            }
            Item::Mod(item) => self.name(&item.ident),
            _ => {}
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let owner = match &*item.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|part| part.ident.to_string()),
            _ => None,
        };
        let owner = owner.unwrap_or_else(|| "impl".to_owned());
        self.owned(owner, |this| syn::visit::visit_item_impl(this, item));
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.sig.ident, item.sig.span(), item.block.span());
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !item.attrs.iter().any(is_test_only) {
            self.function(&item.sig.ident, item.sig.span(), item.block.span());
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig.ident, item.sig.span(), block.span());
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}

/// Whether an attribute is `#[cfg(test)]` or a `cfg` that demands `test` among other things.
fn is_test_only(attribute: &Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    let tokens: Vec<_> = list.tokens.clone().into_iter().map(|token| token.to_string()).collect();
    let demands = match tokens.first().map(String::as_str) {
        Some("test") => tokens.len() == 1,
        Some("all") => tokens.get(1).is_some_and(|inner| {
            inner.trim_matches(['(', ')']).split(',').any(|part| part.trim() == "test")
        }),
        _ => false,
    };
    list.path.is_ident("cfg") && demands
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "//! Doc.\n\
        struct Thing;\n\
        impl Thing {\n\
        \x20   /// Says.\n\
        \x20   fn say(&self) {\n\
        \x20       let x = 1;\n\
        \x20   }\n\
        }\n\
        #[cfg(test)]\n\
        mod fixtures;\n\
        #[cfg(test)]\n\
        mod tests {\n\
        \x20   fn long() {\n\
        \x20   }\n\
        }\n";

    #[test]
    fn tests_do_not_count() {
        let measure = measure(TEXT).unwrap();
        assert_eq!(measure.product_lines, 8);
        assert_eq!(measure.test_modules, ["fixtures"]);
        let say = Function { name: "Thing::say".to_owned(), line: 5, lines: 3 };
        assert_eq!(measure.functions, [say]);
        assert_eq!(measure.names, [("Thing".to_owned(), 2)]);
    }

    #[test]
    fn only_a_demand_for_test_makes_test_code() {
        for (attribute, expected) in [
            ("#[cfg(test)]", true),
            ("#[cfg(all(test, unix))]", true),
            ("#[cfg(not(test))]", false),
            ("#[cfg(any(test, feature = \"x\"))]", false),
            ("#[test]", false),
        ] {
            let item: syn::ItemFn = syn::parse_str(&format!("{attribute} fn f() {{}}")).unwrap();
            assert_eq!(item.attrs.iter().any(is_test_only), expected, "{attribute}");
        }
    }

    #[test]
    fn what_is_no_rust_is_an_error() {
        assert!(measure("fn (").is_err());
    }
}
