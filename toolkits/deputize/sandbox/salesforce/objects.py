"""The org's objects: fields with their types, and their descriptions."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
READ_ONLY = {
    "ContentSize",
    "IsLatest",
    "Id",
    "CreatedDate",
    "LastModifiedDate",
    "CreatedById",
    "IsClosed",
    "CaseNumber",
    "IsDeleted",
}
PICKLISTS = {
    ("Opportunity", "StageName"): ("Prospecting", "Negotiation", "Closed Won", "Closed Lost"),
    ("Lead", "Status"): ("Open", "Working", "Closed"),
    ("Task", "Status"): ("Not Started", "In Progress", "Completed"),
    ("Task", "Priority"): ("High", "Normal", "Low"),
}
REFERS = {
    "AccountId": "Account",
    "ContactId": "Contact",
    "OwnerId": "User",
    "ContentDocumentId": "ContentDocument",
    "WhoId": "Contact",
    "WhatId": "Account",
}
_COMMON = "Id:id OwnerId:reference CreatedDate:datetime LastModifiedDate:datetime CreatedById:reference"
_FIELDS = {
    "Account": "Name Industry Phone:phone Website:url Description:textarea Key__c:string",
    "Contact": "FirstName LastName Name Email:email Phone:phone Title AccountId:reference Description:textarea",
    "Opportunity": "Name StageName:picklist CloseDate:date Amount:currency AccountId:reference Description:textarea",
    "Lead": "FirstName LastName Name Company Status:picklist Email:email Phone:phone ConvertedAccountId:reference "
    "Description:textarea",
    "Case": "CaseNumber Subject Status Priority Description:textarea AccountId:reference ContactId:reference",
    "CaseComment": "ParentId:reference CommentBody:textarea IsPublished:boolean",
    "Task": "Subject Status:picklist Priority:picklist ActivityDate:date Description:textarea WhoId:reference "
    "WhatId:reference AccountId:reference IsClosed:boolean TaskSubtype CallDisposition CallDurationInSeconds:int",
    "Event": "Subject StartDateTime:datetime EndDateTime:datetime Description:textarea WhoId:reference "
    "WhatId:reference AccountId:reference",
    "Note": "Title Body:textarea ParentId:reference",
    "ContentNote": "Title Content:base64",
    "ContentDocument": "Title FileExtension FileType ContentSize:int",
    "ContentVersion": "Title FileExtension PathOnClient VersionData:base64 ContentSize:int Checksum IsLatest:boolean "
    "FirstPublishLocationId:reference ContentDocumentId:reference",
    "ContentDocumentLink": "ContentDocumentId:reference LinkedEntityId:reference ShareType",
    "EmailMessage": "Subject FromAddress:email MessageDate:datetime RelatedToId:reference TextBody:textarea "
    "HtmlBody:textarea",
    "OpportunityContactRole": "OpportunityId:reference ContactId:reference Role",
    "OpportunityLineItem": "OpportunityId:reference Name Quantity:double TotalPrice:currency",
    "User": "Name Email:email IsActive:boolean UserType",
    "Group": "Name Type",
    "RecordType": "Name SobjectType IsActive:boolean",
}
FIELDS: dict[str, dict[str, str]] = {
    kind: dict((one + ":string").split(":")[:2] for one in f"{_COMMON} {names}".split())
    for kind, names in _FIELDS.items()
}
REQUIRED = {
    "Account": ("Name",),
    "Contact": ("LastName",),
    "Opportunity": ("Name", "StageName", "CloseDate"),
    "Lead": ("LastName", "Company"),
    "Event": ("StartDateTime", "EndDateTime"),
    "Note": ("Title", "ParentId"),
    "ContentNote": ("Title",),
}
PREFIXES = {
    **{"Account": "001", "Contact": "003", "Opportunity": "006", "Lead": "00Q", "Case": "500", "Task": "00T"},
    **{
        "Event": "00U",
        "Note": "002",
        "ContentNote": "069",
        "ContentDocumentLink": "06A",
        "ContentDocument": "069",
        "ContentVersion": "068",
        "EmailMessage": "02s",
    },
    **{"OpportunityContactRole": "00K", "OpportunityLineItem": "00k", "Group": "00G", "RecordType": "012"},
    **{"User": "005", "CaseComment": "00a"},
}


def summarize_object(kind: str) -> Json:
    """Return an object's entry in the list of all objects."""
    return {"name": kind, "label": kind, "keyPrefix": PREFIXES[kind], "custom": False, "queryable": True}


def describe_object(kind: str) -> Json:
    """Return an object with its fields (REST: sObject Describe)."""
    return summarize_object(kind) | {"fields": [_field(kind, name, type) for name, type in FIELDS[kind].items()]}


def _field(kind: str, name: str, type: str) -> Json:
    computed = name in READ_ONLY or (name == "Name" and kind in ("Contact", "Lead"))
    values = PICKLISTS.get((kind, name), ())
    return {
        "name": name,
        "label": name,
        "type": type,
        "length": 255 if type in ("string", "picklist", "email", "phone", "url") else 0,
        "nillable": name not in REQUIRED.get(kind, ()),
        "defaultedOnCreate": name == "OwnerId",
        "createable": not computed,
        "updateable": not computed,
        "filterable": type != "textarea",
        "externalId": name.startswith("Key"),
        "restrictedPicklist": bool(values),
        "picklistValues": [{"value": value, "label": value, "active": True} for value in values],
        "referenceTo": [REFERS[name]] if name in REFERS else [],
    }
