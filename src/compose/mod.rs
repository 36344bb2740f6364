//! stub
use std::collections::{BTreeMap,BTreeSet}; use std::sync::Arc;
use crate::diagnostic::*; use crate::plan::*; use crate::tree::Tree; use crate::name::*;
#[derive(Debug)] pub struct Source; pub struct ReadSpec<'a>{pub files:&'a [Arc<str>], pub profiles:&'a [Arc<str>], pub overlays:&'a [Arc<str>]}
impl Source { pub fn read(_t:&Tree,_f:&str,_s:&ReadSpec<'_>)->Result<Self,Vec<Diagnostic>>{todo!()}
 pub fn render(&self,_t:&Tree,_v:&BTreeMap<Arc<str>,Arc<str>>)->Result<Rendered,Vec<Diagnostic>>{todo!()} }
#[derive(Debug)] pub struct Rendered{pub project:Option<Arc<str>>,pub model:Model,pub files:BTreeMap<Arc<str>,FileRef>,pub containers:BTreeMap<Arc<str>,ContainerSpec>,pub used_variables:BTreeSet<Arc<str>>}
impl Rendered{pub fn place_of(&self,_t:&Tree,_k:&[&str])->Option<Place>{todo!()}}
pub fn instance_digest(_r:&Rendered,_s:RunState,_o:OnFileChange)->Digest{todo!()}
pub fn labels(_n:&NodeName,_e:&Ensure)->BTreeMap<Arc<str>,BTreeMap<String,String>>{todo!()}
pub fn labelled(_m:&Model,_l:&BTreeMap<Arc<str>,BTreeMap<String,String>>)->String{todo!()}
