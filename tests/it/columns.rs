//! Column lineage: which raw columns a thing was made from, and what hangs on a column.

use crate::project::Project;

fn project() -> Project {
    let project = Project::new(
        r#"
[data.events]
path = "raw/events.csv"

[data.users]
path = "raw/users.csv"

[features.lists]
key = ["user"]

[model.next]
train = "popularity"
input = "features:lists"
sequence = "items"

[data.top]
predict = "model:next"
input = "features:lists"
sequence = "items"
k = 1
"#,
    )
    .file("raw/events.csv", "user,item,seq,rating,note\n1,7,1,3,a\n1,8,2,4,b\n2,7,1,5,c\n2,9,2,1,d\n")
    .file("raw/users.csv", "id,country,age\n1,de,30\n2,fr,40\n")
    .file(
        "data/plays.sql",
        "with good as (select * from data.events where rating > (select min(age) / 30 - 1 from data.users)) \
         select g.user, g.item, g.seq, u.country, g.note as remark from good g join data.users u on u.id = g.user",
    )
    .file(
        "features/lists.sql",
        "select user, array_agg(item order by seq) as items, count(*) as n from data.plays group by user",
    );
    project.build(&[]);
    project
}

fn lineage(project: &Project, arguments: &[&str]) -> String {
    let ran = project.run(&[&["lineage"], arguments].concat());
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    ran.stdout
}

#[test]
fn the_raw_columns_that_trained_a_model_are_named() {
    let project = project();
    insta::assert_snapshot!(lineage(&project, &["--columns", "--up", "model:next"]), @r"
    model:next is made from
      features:lists  items; not user, n
      data:plays      item, seq; rows by user; not country, remark
      data:users      rows by age, id; not country
      data:events     item, seq; rows by rating, user; not note
    ");
}

#[test]
fn what_must_be_looked_at_if_a_column_is_wrong_is_named() {
    let project = project();
    insta::assert_snapshot!(lineage(&project, &["data:events.rating", "--down"]), @r"
    data:events.rating is used by
      data:plays      which rows there are
      features:lists  which rows there are
      model:next      which rows there are
      data:top        which rows there are
    ");
    insta::assert_snapshot!(lineage(&project, &["data:events.note", "--down"]), @r"
    data:events.note is used by
      data:plays  remark
    ");
    insta::assert_snapshot!(lineage(&project, &["data:users.country", "--down"]), @r"
    data:users.country is used by
      data:plays  country
    ");
    insta::assert_snapshot!(lineage(&project, &["data:top.items", "--up"]), @r"
    data:top.items is made from
      model:next      all of it
      features:lists  items; not user, n
      data:plays      item, seq; rows by user; not country, remark
      data:users      rows by age, id; not country
      data:events     item, seq; rows by rating, user; not note
    ");
}

#[test]
fn a_column_that_is_not_there_is_a_mistake_with_a_suggestion() {
    let project = project();
    let ran = project.run(&["lineage", "data:events.ratng"]);
    assert_eq!(ran.exit, Some(2));
    assert!(
        ran.stderr.contains("did you mean `data:events.rating`?"),
        "{}",
        ran.stderr
    );
}

#[test]
fn column_edges_are_in_the_database() {
    let project = project();
    let ran = project.run(&[
        "query",
        "--format",
        "csv",
        "select input, from_column, to_column, kind from column_edges where label = 'features:lists' order by 1, 2, 3",
    ]);
    insta::assert_snapshot!(ran.stdout, @r"
    input,from_column,to_column,kind
    data:plays,item,items,value
    data:plays,seq,items,value
    data:plays,user,,rows
    data:plays,user,user,value
    ");
}
