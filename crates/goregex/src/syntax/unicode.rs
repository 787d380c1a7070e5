//! The names that Go's `\p` knows: general categories and scripts, and nothing else of Unicode.

use super::tree::Property;

// Short and long names as Go compares them: small letters without `_`, `-` and blanks.
const CATEGORIES: &str = "c cc cf cn co l lc ll lm lo lt lu m mc me mn n nd nl no p pc pd pe pf pi po ps s sc sk sm so z zl \
    zp zs other control cntrl format unassigned privateuse letter casedletter lowercaseletter modifierletter \
    otherletter titlecaseletter uppercaseletter mark combiningmark spacingmark enclosingmark nonspacingmark number \
    decimalnumber digit letternumber othernumber punctuation punct connectorpunctuation dashpunctuation \
    closepunctuation finalpunctuation initialpunctuation otherpunctuation openpunctuation symbol currencysymbol \
    modifiersymbol mathsymbol othersymbol separator lineseparator paragraphseparator spaceseparator";

const SCRIPTS: &str = "adlam ahom anatolianhieroglyphs arabic armenian avestan balinese bamum bassavah batak bengali bhaiksuki \
    bopomofo brahmi braille buginese buhid canadianaboriginal carian caucasianalbanian chakma cham cherokee \
    chorasmian common coptic cuneiform cypriot cyprominoan cyrillic deseret devanagari divesakuru dogra duployan \
    egyptianhieroglyphs elbasan elymaic ethiopic garay georgian glagolitic gothic grantha greek gujarati \
    gunjalagondi gurmukhi gurungkhema han hangul hanifirohingya hanunoo hatran hebrew hiragana imperialaramaic \
    inherited inscriptionalpahlavi inscriptionalparthian javanese kaithi kannada katakana kawi kayahli kharoshthi \
    khitansmallscript khmer khojki khudawadi kiratrai lao latin lepcha limbu lineara linearb lisu lycian lydian \
    mahajani makasar malayalam mandaic manichaean marchen masaramgondi medefaidrin meeteimayek mendekikakui \
    meroiticcursive meroitichieroglyphs miao modi mongolian mro multani myanmar nabataean nagmundari nandinagari \
    newa newtailue nko nushu nyiakengpuachuehmong ogham olchiki oldhungarian olditalic oldnortharabian oldpermic \
    oldpersian oldsogdian oldsoutharabian oldturkic olduyghur olonal oriya osage osmanya pahawhhmong palmyrene \
    paucinhau phagspa phoenician psalterpahlavi rejang runic samaritan saurashtra sharada shavian siddham \
    signwriting sinhala sogdian sorasompeng soyombo sundanese sunuwar sylotinagri syriac tagalog tagbanwa taile \
    taitham taiviet takri tamil tangsa tangut telugu thaana thai tibetan tifinagh tirhuta todhri toto \
    tulutigalari ugaritic vai vithkuqi wancho warangciti yezidi yi zanabazarsquare";

/// What `name` stands for; `None` where Go refuses it.
pub(crate) fn property(name: &str) -> Option<Property> {
    let name: String = name
        .chars()
        .filter(|c| !matches!(c, '_' | '-' | ' '))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let listed = |list: &str| list.split_ascii_whitespace().any(|known| known == name);
    match name.as_str() {
        "any" => Some(Property::Any),
        "assigned" => Some(Property::Assigned),
        "ascii" => Some(Property::Ascii),
        "cs" | "surrogate" => Some(Property::Surrogate),
        _ if listed(CATEGORIES) => Some(Property::Category(name)),
        _ if listed(SCRIPTS) => Some(Property::Script(name)),
        _ => None,
    }
}
